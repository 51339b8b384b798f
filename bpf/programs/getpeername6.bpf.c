// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* cgroup/getpeername6 of a workload: as getpeername4, for IPv6 sockets (which carry IPv4 as ::ffff:a.b.c.d). */
#include "peername.h"

SEC("cgroup/getpeername6")
int nm_getpeername6(struct bpf_sock_addr *ctx)
{
	struct nm_endpoint local = {}, peer = {};
	struct nm_endpoint *shown;
	struct bpf_sock *sk = ctx->sk;

	/*
	 * For its side effect: the verifier ties this program to nm_workloads, so attaching it creates the cgroup's storage.
	 * nodemeshd attaches it first and fills the storage before connect4 and connect6 need it.
	 */
	(void)bpf_get_local_storage(&nm_workloads, 0);
	if (!sk)
		return NM_DONE;
	peer.ip[0] = ctx->user_ip6[0];
	peer.ip[1] = ctx->user_ip6[1];
	peer.ip[2] = ctx->user_ip6[2];
	peer.ip[3] = ctx->user_ip6[3];
	peer.port = bpf_ntohs(ctx->user_port);
	local.ip[0] = sk->src_ip6[0];
	local.ip[1] = sk->src_ip6[1];
	local.ip[2] = sk->src_ip6[2];
	local.ip[3] = sk->src_ip6[3];
	local.port = sk->src_port;
	shown = nm_shown_peer(ctx, sk, &local, &peer);
	if (!shown)
		return NM_DONE;
	ctx->user_ip6[0] = shown->ip[0];
	ctx->user_ip6[1] = shown->ip[1];
	ctx->user_ip6[2] = shown->ip[2];
	ctx->user_ip6[3] = shown->ip[3];
	ctx->user_port = bpf_htons(shown->port);
	return NM_DONE;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
