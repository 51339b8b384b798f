// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cgroup/sendmsg4 of a workload: sends queries of unconnected UDP sockets to nodemeshd. Fails open. */
#include "connect.h"

SEC("cgroup/sendmsg4")
int nm_sendmsg4(struct bpf_sock_addr *ctx)
{
	struct nm_workload *workload = bpf_get_local_storage(&nm_workloads, 0);
	struct nm_endpoint to = {};
	struct bpf_sock *sk = ctx->sk;
	__u32 reason;

	to.port = bpf_ntohs(ctx->user_port);
	if (!sk || ctx->protocol != IPPROTO_UDP || to.port != NM_DNS_PORT)
		return NM_PROCEED;
	nm_set_ip4(to.ip, ctx->user_ip4);
	reason = nm_decide_query(ctx, sk, workload, &to);
	/* The kernel has given it a port by now. */
	if (nm_route_query(ctx, sk, workload, &to, reason, sk->src_port) == NM_ROUTE_RESOLVE) {
		ctx->user_ip4 = to.ip[3];
		ctx->user_port = bpf_htons(to.port);
	}
	return NM_PROCEED;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
