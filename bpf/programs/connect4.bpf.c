// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cgroup/connect4 of a workload: sends TCP connects for the mesh to the proxy's outbound listener. Fails closed. */
#include "connect.h"

SEC("cgroup/connect4")
int nm_connect4(struct bpf_sock_addr *ctx)
{
	struct nm_endpoint to = {};
	struct bpf_sock *sk = ctx->sk;
	__u32 source;

	if (ctx->protocol != IPPROTO_TCP)
		return NM_PROCEED;
	if (!sk) {
		nm_refuse(NM_REASON_STORAGE_REFUSED, ECONNREFUSED);
		return NM_REJECT;
	}
	nm_set_ip4(to.ip, ctx->user_ip4);
	to.port = bpf_ntohs(ctx->user_port);

	switch (nm_route_connect(ctx, sk, &to)) {
	case NM_ROUTE_DIRECT:
		return NM_PROCEED;
	case NM_ROUTE_CAPTURE:
		break;
	default:
		return NM_REJECT;
	}

	/* Makes getsockname() and the proxy's view right. A socket with a port of its own keeps the kernel's choice. */
	source = nm_source4();
	if (source && !sk->src_ip4) {
		struct sockaddr_in address;

		__builtin_memset(&address, 0, sizeof(address));
		address.sin_family = NM_AF_INET;
		address.sin_addr.s_addr = source;
		bpf_bind(ctx, (struct sockaddr *)&address, sizeof(address));
	}
	ctx->user_ip4 = NM_LOOPBACK4;
	ctx->user_port = bpf_htons(nm_config.outbound_port);
	return NM_PROCEED;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
