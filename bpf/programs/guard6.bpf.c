// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cgroup/connect6 of a template's parent: as guard4, for IPv6 sockets. Fails closed. */
#include "guard.h"

SEC("cgroup/connect6")
int nm_guard6(struct bpf_sock_addr *ctx)
{
	struct nm_endpoint to = {};
	struct bpf_sock *sk = ctx->sk;

	if (ctx->protocol != IPPROTO_TCP || !sk)
		return NM_PROCEED;
	to.ip[0] = ctx->user_ip6[0];
	to.ip[1] = ctx->user_ip6[1];
	to.ip[2] = ctx->user_ip6[2];
	to.ip[3] = ctx->user_ip6[3];
	to.port = bpf_ntohs(ctx->user_port);
	return nm_guard(ctx, sk, &to);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
