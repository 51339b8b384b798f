/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/* Connections as seen by sockops programs. */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "addr.h"
#include "nodemesh_abi.h"

#define NM_LOAD(ops, field) NM_READ(ops, struct bpf_sock_ops, field)

struct nm_ends {
	struct nm_endpoint local;
	struct nm_endpoint remote;
};

static __always_inline void nm_read_ends(struct nm_ends *ends, struct bpf_sock_ops *ops)
{
	__builtin_memset(ends, 0, sizeof(*ends));
	if (ops->family == NM_AF_INET6) {
		ends->local.ip[0] = NM_LOAD(ops, local_ip6[0]);
		ends->local.ip[1] = NM_LOAD(ops, local_ip6[1]);
		ends->local.ip[2] = NM_LOAD(ops, local_ip6[2]);
		ends->local.ip[3] = NM_LOAD(ops, local_ip6[3]);
		ends->remote.ip[0] = NM_LOAD(ops, remote_ip6[0]);
		ends->remote.ip[1] = NM_LOAD(ops, remote_ip6[1]);
		ends->remote.ip[2] = NM_LOAD(ops, remote_ip6[2]);
		ends->remote.ip[3] = NM_LOAD(ops, remote_ip6[3]);
	} else {
		nm_set_ip4(ends->local.ip, NM_LOAD(ops, local_ip4));
		nm_set_ip4(ends->remote.ip, NM_LOAD(ops, remote_ip4));
	}
	ends->local.port = ops->local_port;
	/* remote_port is in network order, in the upper half where the kernel reads it as a word. */
	ends->remote.port = bpf_ntohl(ops->remote_port);
}

/* The flow between two sockets of the caller's namespace. */
static __always_inline void nm_flow(struct nm_flow_key *key, struct bpf_sock_ops *ops, const struct nm_endpoint *source,
				    const struct nm_endpoint *destination)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->netns = bpf_get_netns_cookie(ops);
	__builtin_memcpy(key->source_ip, source->ip, sizeof(key->source_ip));
	__builtin_memcpy(key->destination_ip, destination->ip, sizeof(key->destination_ip));
	key->source_port = source->port;
	key->destination_port = destination->port;
}

static __always_inline void nm_watch_state(struct bpf_sock_ops *ops)
{
	bpf_sock_ops_cb_flags_set(ops, ops->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

static __always_inline void nm_unwatch_state(struct bpf_sock_ops *ops)
{
	bpf_sock_ops_cb_flags_set(ops, ops->bpf_sock_ops_cb_flags & ~BPF_SOCK_OPS_STATE_CB_FLAG);
}
