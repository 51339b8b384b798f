// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cgroup/connect4 of a template's parent: a child not enrolled yet does not reach the mesh. Fails closed. */
#include "guard.h"

SEC("cgroup/connect4")
int nm_guard4(struct bpf_sock_addr *ctx)
{
	struct nm_endpoint to = {};
	struct bpf_sock *sk = ctx->sk;

	if (ctx->protocol != IPPROTO_TCP || !sk)
		return NM_PROCEED;
	nm_set_ip4(to.ip, ctx->user_ip4);
	to.port = bpf_ntohs(ctx->user_port);
	return nm_guard(ctx, sk, &to);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
