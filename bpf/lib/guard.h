/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/*
 * What keeps a cgroup's children from the mesh until they are enrolled. The programs of a cgroup run before those of its
 * ancestors: a workload's own have decided already, and either sent the socket to the proxy or marked it.
 */
#include "connect.h"

static __always_inline int nm_is_marked(struct bpf_sock *sk, const struct nm_endpoint *to)
{
	struct nm_socket *meta = bpf_sk_storage_get(&nm_sockets, sk, 0, 0);

	if (!meta)
		return 0;
	if (meta->kind == NM_SOCKET_DIRECT)
		return 1;
	/* A mark of an earlier connect of the socket does not count for this one. */
	return meta->kind == NM_SOCKET_LEFT && nm_same_ip(meta->address.ip, to->ip) && meta->address.port == to->port;
}

static __always_inline int nm_guard(struct bpf_sock_addr *ctx, struct bpf_sock *sk, const struct nm_endpoint *to)
{
	/* Refused already, with a reason. */
	if (bpf_get_retval() < 0)
		return NM_PROCEED;
	if (nm_means_localhost(to->ip) || !nm_in_mesh(to) || nm_is_never_meshed(to) || nm_is_marked(sk, to))
		return NM_PROCEED;
	if (nm_has_global_exclusions() && nm_excludes(to, 0))
		return NM_PROCEED;
	nm_refuse(ctx, NM_REASON_UNENROLLED_REFUSED, 0, to);
	return NM_REJECT;
}
