// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * cgroup/connect6 of a workload: an IPv4 destination in its IPv6 form is captured as connect4 would, a native IPv6
 * destination inside the mesh is refused. Fails closed.
 */
#include "connect.h"

SEC("cgroup/connect6")
int nm_connect6(struct bpf_sock_addr *ctx)
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
	to.ip[0] = ctx->user_ip6[0];
	to.ip[1] = ctx->user_ip6[1];
	to.ip[2] = ctx->user_ip6[2];
	to.ip[3] = ctx->user_ip6[3];
	to.port = bpf_ntohs(ctx->user_port);

	switch (nm_route_connect(ctx, sk, &to)) {
	case NM_ROUTE_DIRECT:
		return NM_PROCEED;
	case NM_ROUTE_CAPTURE:
		break;
	default:
		return NM_REJECT;
	}

	source = nm_source4();
	if (source && !sk->src_ip6[0] && !sk->src_ip6[1] && !sk->src_ip6[2] && !sk->src_ip6[3]) {
		struct sockaddr_in6 address;

		__builtin_memset(&address, 0, sizeof(address));
		address.sin6_family = NM_AF_INET6;
		nm_set_ip4(address.sin6_addr.s6_addr32, source);
		bpf_bind(ctx, (struct sockaddr *)&address, sizeof(address));
	}
	/* The other words already are ::ffff:. */
	ctx->user_ip6[3] = NM_LOOPBACK4;
	ctx->user_port = bpf_htons(nm_config.outbound_port);
	return NM_PROCEED;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
