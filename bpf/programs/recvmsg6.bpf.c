// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cgroup/recvmsg6 of a workload: as recvmsg4, for IPv6 sockets (which carry IPv4 as ::ffff:a.b.c.d). */
#include "peername.h"

SEC("cgroup/recvmsg6")
int nm_recvmsg6(struct bpf_sock_addr *ctx)
{
	struct nm_endpoint *resolver, from = {};
	struct bpf_sock *sk = ctx->sk;

	if (!sk)
		return NM_DONE;
	from.ip[0] = ctx->user_ip6[0];
	from.ip[1] = ctx->user_ip6[1];
	from.ip[2] = ctx->user_ip6[2];
	from.ip[3] = ctx->user_ip6[3];
	from.port = bpf_ntohs(ctx->user_port);
	resolver = nm_asked_of(sk, &from);
	if (!resolver)
		return NM_DONE;
	ctx->user_ip6[0] = resolver->ip[0];
	ctx->user_ip6[1] = resolver->ip[1];
	ctx->user_ip6[2] = resolver->ip[2];
	ctx->user_ip6[3] = resolver->ip[3];
	ctx->user_port = bpf_htons(resolver->port);
	return NM_DONE;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
