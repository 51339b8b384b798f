// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cgroup/connect4 of a workload: sends TCP connects for the mesh to the proxy's outbound listener. Fails closed. */
#include "connect.h"

/* Makes getsockname() and the proxy's view right. A socket with an address of its own keeps it. */
static __always_inline void nm_choose_source(struct bpf_sock_addr *ctx, struct bpf_sock *sk, __u32 source)
{
	struct sockaddr_in address;

	if (!source || sk->src_ip4)
		return;
	__builtin_memset(&address, 0, sizeof(address));
	address.sin_family = NM_AF_INET;
	address.sin_addr.s_addr = source;
	bpf_bind(ctx, (struct sockaddr *)&address, sizeof(address));
}

SEC("cgroup/connect4")
int nm_connect4(struct bpf_sock_addr *ctx)
{
	struct nm_workload *workload = bpf_get_local_storage(&nm_workloads, 0);
	struct nm_endpoint to = {};
	struct bpf_sock *sk = ctx->sk;

	if (ctx->protocol != IPPROTO_TCP)
		return NM_PROCEED;
	nm_set_ip4(to.ip, ctx->user_ip4);
	to.port = bpf_ntohs(ctx->user_port);
	if (!sk) {
		nm_refuse(ctx, NM_REASON_STORAGE_REFUSED, workload->key, &to);
		return NM_REJECT;
	}
	switch (nm_route_connect(ctx, sk, workload, &to)) {
	case NM_ROUTE_LEAVE:
		return NM_PROCEED;
	case NM_ROUTE_CAPTURE:
		nm_choose_source(ctx, sk, workload->source4);
		ctx->user_ip4 = NM_LOOPBACK4;
		ctx->user_port = bpf_htons(nm_config.outbound_port);
		return NM_PROCEED;
	case NM_ROUTE_DIRECT:
		ctx->user_ip4 = to.ip[3];
		ctx->user_port = bpf_htons(to.port);
		return NM_PROCEED;
	default:
		return NM_REJECT;
	}
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
