/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/* Where a TCP connect of a workload goes; shared by connect4 and connect6. */
#include <linux/bpf.h>
#include <linux/errno.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <bpf/bpf_helpers.h>

#include "addr.h"
#include "config.h"
#include "maps.h"
#include "reason.h"

#define NM_SOL_SOCKET 1
#define NM_SO_BINDTODEVICE 25

/* Verdicts of cgroup/connect hooks. */
#define NM_REJECT 0
#define NM_PROCEED 1

enum nm_route {
	NM_ROUTE_DIRECT,
	NM_ROUTE_REFUSE,
	NM_ROUTE_CAPTURE,
};

static __always_inline int nm_refuse(__u32 reason, int error)
{
	nm_count(reason);
	bpf_set_retval(-error);
	return NM_ROUTE_REFUSE;
}

static __always_inline int nm_in_mesh(const struct nm_endpoint *to)
{
	struct nm_prefix_key key = { .length = 128 };

	__u32 *family;

	__builtin_memcpy(key.ip, to->ip, sizeof(key.ip));
	family = bpf_map_lookup_elem(&nm_prefixes, &key);
	/* A short IPv6 prefix covers the mapped IPv4 addresses only as numbers. */
	return family && *family == (nm_is_ip4(to->ip) ? NM_FAMILY_IPV4 : NM_FAMILY_IPV6);
}

static __always_inline int nm_is_self(const struct nm_workload *workload, const struct nm_endpoint *to)
{
	for (__u32 i = 0; i < NM_OWN_ADDRESSES; i++) {
		if (i >= workload->own_count)
			break;
		if (nm_same_ip(workload->own[i], to->ip))
			return 1;
	}
	return 0;
}

static __always_inline int nm_has_listener(const struct nm_workload *workload)
{
	__u32 slot = workload->slot;
	struct bpf_sock *listener = bpf_map_lookup_elem(&nm_listeners, &slot);

	if (!listener)
		return 0;
	bpf_sk_release(listener);
	return 1;
}

/* The loopback listener cannot be reached through another device. */
static __always_inline int nm_lift_device(struct bpf_sock_addr *ctx, struct bpf_sock *sk)
{
	char none = 0;

	if (!sk->bound_dev_if)
		return 0;
	return bpf_setsockopt(ctx, NM_SOL_SOCKET, NM_SO_BINDTODEVICE, &none, sizeof(none));
}

/*
 * Decides about a connect to `to`. Fails closed: inside the mesh, whatever cannot be captured is refused. Outside it
 * nothing is touched, not even when the workload's own state is missing.
 */
static __always_inline int nm_route_connect(struct bpf_sock_addr *ctx, struct bpf_sock *sk,
					    const struct nm_endpoint *to)
{
	struct nm_workload *workload = bpf_get_local_storage(&nm_workloads, 0);
	int own_port = to->port == nm_config.outbound_port || to->port == nm_config.inbound_port;
	struct nm_socket *meta;

	/* The socket may have been connected before: what it dialled then is history. */
	bpf_sk_storage_delete(&nm_sockets, sk);

	if (nm_means_localhost(to->ip))
		return own_port ? nm_refuse(NM_REASON_CAPTURE_PORT_REFUSED, EPERM) : NM_ROUTE_DIRECT;
	if (own_port && nm_is_self(workload, to))
		return nm_refuse(NM_REASON_CAPTURE_PORT_REFUSED, EPERM);
	if (!nm_in_mesh(to))
		return NM_ROUTE_DIRECT;
	if (!(workload->flags & NM_WORKLOAD_ACTIVE))
		return nm_refuse(NM_REASON_INACTIVE_REFUSED, ECONNREFUSED);
	if (nm_is_self(workload, to)) {
		nm_count(NM_REASON_SELF_BYPASSED);
		return NM_ROUTE_DIRECT;
	}
	if ((workload->flags & NM_WORKLOAD_FAIL_OPEN) && !nm_has_listener(workload)) {
		nm_count(NM_REASON_OUTBOUND_FAILED_OPEN);
		return NM_ROUTE_DIRECT;
	}
	if (!nm_is_ip4(to->ip))
		return nm_refuse(NM_REASON_IPV6_REFUSED, ECONNREFUSED);
	if (nm_lift_device(ctx, sk))
		return nm_refuse(NM_REASON_DEVICE_REFUSED, ECONNREFUSED);

	meta = bpf_sk_storage_get(&nm_sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!meta)
		return nm_refuse(NM_REASON_STORAGE_REFUSED, ECONNREFUSED);
	meta->address = *to;
	meta->workload = workload->key;
	meta->kind = NM_SOCKET_DIALLED;
	nm_count(NM_REASON_CAPTURED);
	return NM_ROUTE_CAPTURE;
}

/* The IPv4 source a captured connect should have, 0 for the kernel's choice. */
static __always_inline __u32 nm_source4(void)
{
	struct nm_workload *workload = bpf_get_local_storage(&nm_workloads, 0);

	return workload->source4;
}
