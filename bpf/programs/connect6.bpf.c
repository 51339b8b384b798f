// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * cgroup/connect6 of a workload: as connect4, for IPv6 sockets. An IPv4 destination in its IPv6 form goes to the listener
 * on 127.0.0.1, a native one to that on ::1.
 */
#include "connect.h"

static __always_inline void nm_choose_source(struct bpf_sock_addr *ctx, struct bpf_sock *sk,
					     const struct nm_workload *workload, int is_ip4)
{
	struct sockaddr_in6 address;

	if (sk->src_ip6[0] || sk->src_ip6[1] || sk->src_ip6[2] || sk->src_ip6[3])
		return;
	__builtin_memset(&address, 0, sizeof(address));
	address.sin6_family = NM_AF_INET6;
	if (is_ip4) {
		if (!workload->source4)
			return;
		nm_set_ip4(address.sin6_addr.s6_addr32, workload->source4);
	} else {
		if (!workload->source6[0])
			return;
		__builtin_memcpy(address.sin6_addr.s6_addr32, workload->source6, sizeof(workload->source6));
	}
	bpf_bind(ctx, (struct sockaddr *)&address, sizeof(address));
}

static __always_inline void nm_redirect(struct bpf_sock_addr *ctx, const __u32 ip[4], __u16 port)
{
	ctx->user_ip6[0] = ip[0];
	ctx->user_ip6[1] = ip[1];
	ctx->user_ip6[2] = ip[2];
	ctx->user_ip6[3] = ip[3];
	ctx->user_port = bpf_htons(port);
}

/* As in connect4. */
static __always_inline __u16 nm_have_port(struct bpf_sock_addr *ctx, struct bpf_sock *sk)
{
	struct sockaddr_in6 address;
	__u16 port = sk->src_port;

	if (port)
		return port;
	for (int i = 0; i < NM_PORT_TRIES; i++) {
		port = NM_FIRST_PORT + bpf_get_prandom_u32() % NM_PORTS;
		__builtin_memset(&address, 0, sizeof(address));
		address.sin6_family = NM_AF_INET6;
		address.sin6_port = bpf_htons(port);
		address.sin6_addr.s6_addr32[0] = sk->src_ip6[0];
		address.sin6_addr.s6_addr32[1] = sk->src_ip6[1];
		address.sin6_addr.s6_addr32[2] = sk->src_ip6[2];
		address.sin6_addr.s6_addr32[3] = sk->src_ip6[3];
		if (!bpf_bind(ctx, (struct sockaddr *)&address, sizeof(address)))
			return port;
	}
	return 0;
}

static __always_inline void nm_query6(struct bpf_sock_addr *ctx, struct bpf_sock *sk, const struct nm_workload *workload,
				      struct nm_endpoint *to)
{
	__u32 reason = nm_decide_query(ctx, sk, workload, to);
	__u16 port = reason == NM_REASON_DNS_CAPTURED ? nm_have_port(ctx, sk) : 0;

	if (nm_route_query(ctx, sk, workload, to, reason, port) == NM_ROUTE_RESOLVE)
		nm_redirect(ctx, to->ip, to->port);
}

SEC("cgroup/connect6")
int nm_connect6(struct bpf_sock_addr *ctx)
{
	struct nm_workload *workload = bpf_get_local_storage(&nm_workloads, 0);
	struct nm_endpoint to = {};
	__u32 loopback[4] = { 0, 0, 0, bpf_htonl(1) };
	struct bpf_sock *sk = ctx->sk;

	if (ctx->protocol != IPPROTO_TCP && ctx->protocol != IPPROTO_UDP)
		return NM_PROCEED;
	to.ip[0] = ctx->user_ip6[0];
	to.ip[1] = ctx->user_ip6[1];
	to.ip[2] = ctx->user_ip6[2];
	to.ip[3] = ctx->user_ip6[3];
	to.port = bpf_ntohs(ctx->user_port);
	if (ctx->protocol == IPPROTO_UDP) {
		if (sk)
			nm_query6(ctx, sk, workload, &to);
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
		if (nm_is_ip4(to.ip)) {
			nm_choose_source(ctx, sk, workload, 1);
			nm_set_ip4(loopback, NM_LOOPBACK4);
		} else {
			nm_choose_source(ctx, sk, workload, 0);
		}
		nm_redirect(ctx, loopback, nm_config.outbound_port);
		return NM_PROCEED;
	case NM_ROUTE_RESOLVE:
		nm_to_resolver(&to, 0);
		nm_redirect(ctx, to.ip, to.port);
		return NM_PROCEED;
	case NM_ROUTE_DIRECT:
		nm_redirect(ctx, to.ip, to.port);
		return NM_PROCEED;
	default:
		return NM_REJECT;
	}
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
