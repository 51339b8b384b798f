// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * cgroup/connect4 of a workload: sends TCP connects for the mesh to the proxy's outbound listener, and fails closed; sends
 * those of either protocol to a resolver to nodemeshd, and fails open.
 */
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

/* The socket's port, after giving it one if it has none: nodemeshd tells by it who asks. 0: none could be had. */
static __always_inline __u16 nm_have_port(struct bpf_sock_addr *ctx, struct bpf_sock *sk)
{
	struct sockaddr_in address;
	__u16 port = sk->src_port;

	if (port)
		return port;
	for (int i = 0; i < NM_PORT_TRIES; i++) {
		port = NM_FIRST_PORT + bpf_get_prandom_u32() % NM_PORTS;
		__builtin_memset(&address, 0, sizeof(address));
		address.sin_family = NM_AF_INET;
		address.sin_port = bpf_htons(port);
		address.sin_addr.s_addr = sk->src_ip4;
		if (!bpf_bind(ctx, (struct sockaddr *)&address, sizeof(address)))
			return port;
	}
	return 0;
}

static __always_inline void nm_query4(struct bpf_sock_addr *ctx, struct bpf_sock *sk, const struct nm_workload *workload,
				      struct nm_endpoint *to)
{
	__u32 reason = nm_decide_query(ctx, sk, workload, to);
	__u16 port = reason == NM_REASON_DNS_CAPTURED ? nm_have_port(ctx, sk) : 0;

	if (nm_route_query(ctx, sk, workload, to, reason, port) == NM_ROUTE_RESOLVE) {
		ctx->user_ip4 = to->ip[3];
		ctx->user_port = bpf_htons(to->port);
	}
}

SEC("cgroup/connect4")
int nm_connect4(struct bpf_sock_addr *ctx)
{
	struct nm_workload *workload = bpf_get_local_storage(&nm_workloads, 0);
	struct nm_endpoint to = {};
	struct bpf_sock *sk = ctx->sk;

	if (ctx->protocol != IPPROTO_TCP && ctx->protocol != IPPROTO_UDP)
		return NM_PROCEED;
	nm_set_ip4(to.ip, ctx->user_ip4);
	to.port = bpf_ntohs(ctx->user_port);
	if (ctx->protocol == IPPROTO_UDP) {
		if (sk)
			nm_query4(ctx, sk, workload, &to);
		return NM_PROCEED;
	}
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
	case NM_ROUTE_RESOLVE:
		ctx->user_ip4 = NM_LOOPBACK4;
		ctx->user_port = bpf_htons(nm_config.dns_port);
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
