/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/* Whom an application believes it is talking to: getpeername(), and the address returned by accept(). */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "addr.h"
#include "config.h"
#include "maps.h"

/* Verdict: these hooks may not refuse. */
#define NM_DONE 1

/* The address to show instead of `peer`, or NULL to leave it. */
static __always_inline struct nm_endpoint *nm_shown_peer(struct bpf_sock *sk, const struct nm_endpoint *peer)
{
	struct nm_socket *meta = bpf_sk_storage_get(&nm_sockets, sk, 0, 0);

	if (!meta)
		return 0;
	if (meta->kind == NM_SOCKET_CLIENT)
		return &meta->address;
	if (meta->kind == NM_SOCKET_DIALLED && peer->port == nm_config.outbound_port && nm_is_ip4(peer->ip) &&
	    peer->ip[3] == NM_LOOPBACK4)
		return &meta->address;
	return 0;
}
