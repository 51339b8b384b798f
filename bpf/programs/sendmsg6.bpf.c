// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cgroup/sendmsg6 of a workload: as sendmsg4, to IPv6 addresses. (Mapped ones are the other's.) Fails open. */
#include "connect.h"

SEC("cgroup/sendmsg6")
int nm_sendmsg6(struct bpf_sock_addr *ctx)
{
	struct nm_workload *workload = bpf_get_local_storage(&nm_workloads, 0);
	struct nm_endpoint to = {};
	struct bpf_sock *sk = ctx->sk;
	__u32 reason;

	to.port = bpf_ntohs(ctx->user_port);
	if (!sk || ctx->protocol != IPPROTO_UDP || to.port != NM_DNS_PORT)
		return NM_PROCEED;
	to.ip[0] = ctx->user_ip6[0];
	to.ip[1] = ctx->user_ip6[1];
	to.ip[2] = ctx->user_ip6[2];
	to.ip[3] = ctx->user_ip6[3];
	/* The kernel takes no mapped address from here. */
	if (nm_is_ip4(to.ip))
		return NM_PROCEED;
	reason = nm_decide_query(ctx, sk, workload, &to);
	/* The kernel has given it a port by now. */
	if (nm_route_query(ctx, sk, workload, &to, reason, sk->src_port) == NM_ROUTE_RESOLVE) {
		ctx->user_ip6[0] = to.ip[0];
		ctx->user_ip6[1] = to.ip[1];
		ctx->user_ip6[2] = to.ip[2];
		ctx->user_ip6[3] = to.ip[3];
		ctx->user_port = bpf_htons(to.port);
	}
	return NM_PROCEED;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
