// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cgroup/recvmsg4 of a workload: an answer of nodemeshd's comes from the resolver that was asked. */
#include "peername.h"

SEC("cgroup/recvmsg4")
int nm_recvmsg4(struct bpf_sock_addr *ctx)
{
	struct nm_endpoint *resolver, from = {};
	struct bpf_sock *sk = ctx->sk;

	if (!sk)
		return NM_DONE;
	nm_set_ip4(from.ip, ctx->user_ip4);
	from.port = bpf_ntohs(ctx->user_port);
	resolver = nm_asked_of(sk, &from);
	if (!resolver || !nm_is_ip4(resolver->ip))
		return NM_DONE;
	ctx->user_ip4 = resolver->ip[3];
	ctx->user_port = bpf_htons(resolver->port);
	return NM_DONE;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
