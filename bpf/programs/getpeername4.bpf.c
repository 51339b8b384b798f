// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cgroup/getpeername4 of a workload: clients see what they dialled, servers their real client. */
#include "peername.h"

SEC("cgroup/getpeername4")
int nm_getpeername4(struct bpf_sock_addr *ctx)
{
	struct nm_endpoint local = {}, peer = {};
	struct nm_endpoint *shown;
	struct bpf_sock *sk = ctx->sk;

	if (!sk)
		return NM_DONE;
	nm_set_ip4(peer.ip, ctx->user_ip4);
	peer.port = bpf_ntohs(ctx->user_port);
	nm_set_ip4(local.ip, sk->src_ip4);
	local.port = sk->src_port;
	shown = nm_shown_peer(ctx, sk, &local, &peer);
	/* An IPv6 client of an IPv4 application does not fit: it sees the proxy. */
	if (!shown || !nm_is_ip4(shown->ip))
		return NM_DONE;
	ctx->user_ip4 = shown->ip[3];
	ctx->user_port = bpf_htons(shown->port);
	return NM_DONE;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
