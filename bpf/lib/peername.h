/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/* Whom an application believes it is talking to: getpeername(), and the address returned by accept(). */
#include <linux/bpf.h>
#include <linux/in.h>
#include <bpf/bpf_helpers.h>

#include "addr.h"
#include "config.h"
#include "dns.h"
#include "maps.h"

/* Verdict: these hooks may not refuse. */
#define NM_DONE 1

#define NM_IPPROTO_MPTCP 262

/*
 * An MPTCP socket is not the one that was steered, which is its subflow: it has no storage, but the subflow's addresses.
 * `local` is what the socket is bound to.
 */
static __always_inline struct nm_endpoint *nm_shown_by_subflow(struct bpf_sock_addr *ctx, const struct nm_endpoint *local,
							       const struct nm_endpoint *peer)
{
	struct nm_flow_key key = { .netns = bpf_get_netns_cookie(ctx) };
	struct nm_flow_value *origin;

	__builtin_memcpy(key.source_ip, local->ip, sizeof(key.source_ip));
	__builtin_memcpy(key.destination_ip, peer->ip, sizeof(key.destination_ip));
	key.source_port = local->port;
	key.destination_port = peer->port;
	origin = bpf_map_lookup_elem(&nm_origins, &key);
	return origin ? &origin->address : 0;
}

/* The address to show instead of `peer`, or NULL to leave it. */
static __always_inline struct nm_endpoint *nm_shown_peer(struct bpf_sock_addr *ctx, struct bpf_sock *sk,
							 const struct nm_endpoint *local,
							 const struct nm_endpoint *peer)
{
	int is_captured = (peer->port == nm_config.outbound_port || peer->port == nm_config.dns_port) &&
			  nm_is_capture_address(peer->ip);
	struct nm_socket *meta;

	if (ctx->protocol == IPPROTO_UDP)
		return nm_asked_of(sk, peer);
	meta = bpf_sk_storage_get(&nm_sockets, sk, 0, 0);
	if (!meta)
		return is_captured && ctx->protocol == NM_IPPROTO_MPTCP ? nm_shown_by_subflow(ctx, local, peer) : 0;
	if (meta->kind == NM_SOCKET_CLIENT || (meta->kind == NM_SOCKET_DIALLED && is_captured))
		return &meta->address;
	if (meta->kind == NM_SOCKET_DIRECT)
		return &meta->address;
	return 0;
}
