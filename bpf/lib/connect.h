/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/* Where a workload's connects and queries go; shared by connect4 and connect6, sendmsg4 and sendmsg6. */
#include <linux/bpf.h>
#include <linux/errno.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <bpf/bpf_helpers.h>

#include "addr.h"
#include "config.h"
#include "direct.h"
#include "dns.h"
#include "event.h"
#include "exclusion.h"
#include "maps.h"
#include "own.h"
#include "ports.h"
#include "prefix.h"
#include "reason.h"

#define NM_SOL_SOCKET 1
#define NM_SO_BINDTODEVICE 25

/* Verdicts of cgroup/connect hooks. */
#define NM_REJECT 0
#define NM_PROCEED 1

enum nm_route {
	NM_ROUTE_LEAVE,	  /* go where the application wants */
	NM_ROUTE_REFUSE,
	NM_ROUTE_CAPTURE, /* go to the proxy */
	NM_ROUTE_DIRECT,  /* go where `to` says now */
	NM_ROUTE_RESOLVE, /* go to where nodemeshd answers DNS */
};

/* In a shared namespace the address does not tell whom a connect is for; the port does. */
static __always_inline int nm_is_for_another(const struct nm_workload *workload, const struct nm_endpoint *to)
{
	__u32 owner;

	if (!(workload->flags & NM_WORKLOAD_SHARED))
		return 0;
	owner = nm_port_owner(workload->netns, to->port);
	return owner && owner != workload->key;
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

static __always_inline int nm_takes_ipv6(const struct nm_workload *workload)
{
	__u64 netns = workload->netns;
	struct nm_namespace *namespace = bpf_map_lookup_elem(&nm_namespaces, &netns);

	return namespace && (namespace->flags & NM_NAMESPACE_IPV6);
}

/* The loopback listener cannot be reached through another device. */
static __always_inline int nm_lift_device(struct bpf_sock_addr *ctx, struct bpf_sock *sk)
{
	char none = 0;

	if (!sk->bound_dev_if)
		return 0;
	return bpf_setsockopt(ctx, NM_SOL_SOCKET, NM_SO_BINDTODEVICE, &none, sizeof(none));
}

/* Notes on the socket what its application dialled, or that it was looked at. */
static __always_inline int nm_mark(struct bpf_sock *sk, const struct nm_endpoint *to, __u32 workload, __u32 kind)
{
	struct nm_socket *meta = bpf_sk_storage_get(&nm_sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);

	if (!meta)
		return -1;
	meta->address = *to;
	meta->workload = workload;
	meta->source = 0;
	meta->kind = kind;
	return 0;
}

/*
 * The reason for what happens to a connect to `to`. Fails closed: inside the mesh, whatever cannot be captured is
 * refused. Outside it nothing is touched, not even when the workload's own state is missing.
 */
static __always_inline __u32 nm_decide(struct bpf_sock_addr *ctx, struct bpf_sock *sk,
				       const struct nm_workload *workload, struct nm_endpoint *to)
{
	int own_port = to->port == nm_config.outbound_port || to->port == nm_config.inbound_port;

	if (nm_means_localhost(to->ip))
		return own_port ? NM_REASON_CAPTURE_PORT_REFUSED : NM_UNTOUCHED;
	if (own_port && nm_is_self(workload, to->ip))
		return NM_REASON_CAPTURE_PORT_REFUSED;
	if (!nm_in_mesh(to))
		return NM_UNTOUCHED;
	/* As if excluded by configuration: clear text inside the mesh has to show. */
	if (nm_is_never_meshed(to))
		return NM_REASON_OUTBOUND_EXCLUDED;
	if (!(workload->flags & NM_WORKLOAD_ACTIVE))
		return NM_REASON_INACTIVE_REFUSED;
	if (nm_is_self(workload, to->ip) && !nm_is_for_another(workload, to))
		return NM_REASON_SELF_BYPASSED;
	if (nm_is_excluded(workload, to))
		return NM_REASON_OUTBOUND_EXCLUDED;
	if ((workload->flags & NM_WORKLOAD_FAIL_OPEN) && !nm_has_listener(workload))
		return NM_REASON_OUTBOUND_FAILED_OPEN;
	/* Without a proxy nobody would revoke the verdict. */
	if (nm_has_listener(workload) && nm_go_direct(sk, workload, to))
		return NM_REASON_DIRECT;
	if (!nm_is_ip4(to->ip) && !nm_takes_ipv6(workload))
		return NM_REASON_IPV6_REFUSED;
	if (nm_lift_device(ctx, sk))
		return NM_REASON_DEVICE_REFUSED;
	if (nm_mark(sk, to, workload->key, NM_SOCKET_DIALLED))
		return NM_REASON_STORAGE_REFUSED;
	return NM_REASON_CAPTURED;
}

static __always_inline void nm_tell(struct bpf_sock_addr *ctx, __u32 reason, __u32 workload,
				    const struct nm_endpoint *to)
{
	struct nm_decision decision = {
		.reason = reason, .workload = workload, .cookie = bpf_get_socket_cookie(ctx), .destination = *to
	};

	nm_announce(&decision);
}

static __always_inline int nm_refuse(struct bpf_sock_addr *ctx, __u32 reason, __u32 workload,
				     const struct nm_endpoint *to)
{
	nm_tell(ctx, reason, workload, to);
	bpf_set_retval(reason == NM_REASON_CAPTURE_PORT_REFUSED ? -EPERM : -ECONNREFUSED);
	return NM_ROUTE_REFUSE;
}

static __always_inline int nm_route_connect(struct bpf_sock_addr *ctx, struct bpf_sock *sk,
					    const struct nm_workload *workload, struct nm_endpoint *to)
{
	__u32 reason;

	/* The socket may have been connected before: what it dialled then is history. */
	bpf_sk_storage_delete(&nm_sockets, sk);
	reason = nm_decide_query(ctx, sk, workload, to);
	if (reason == NM_UNTOUCHED)
		reason = nm_decide(ctx, sk, workload, to);
	switch (reason) {
	case NM_UNTOUCHED:
		break;
	case NM_REASON_CAPTURED:
		nm_count(reason);
		return NM_ROUTE_CAPTURE;
	case NM_REASON_DIRECT:
		nm_count(reason);
		return NM_ROUTE_DIRECT;
	case NM_REASON_DNS_CAPTURED:
		/* As all names, these rather go unanswered by nodemeshd than not at all. */
		if (!nm_mark(sk, to, workload->key, NM_SOCKET_DIALLED)) {
			nm_count(reason);
			return NM_ROUTE_RESOLVE;
		}
		reason = NM_REASON_DNS_LEFT;
		nm_tell(ctx, reason, workload->key, to);
		break;
	case NM_REASON_DNS_FAILED_OPEN:
	case NM_REASON_DNS_LEFT:
		nm_tell(ctx, reason, workload->key, to);
		break;
	case NM_REASON_SELF_BYPASSED:
	case NM_REASON_OUTBOUND_EXCLUDED:
	case NM_REASON_OUTBOUND_FAILED_OPEN:
		if ((workload->flags & NM_WORKLOAD_GUARDED) && nm_mark(sk, to, workload->key, NM_SOCKET_LEFT))
			return nm_refuse(ctx, NM_REASON_STORAGE_REFUSED, workload->key, to);
		nm_tell(ctx, reason, workload->key, to);
		break;
	default:
		return nm_refuse(ctx, reason, workload->key, to);
	}
	return NM_ROUTE_LEAVE;
}

/*
 * As nm_route_connect, of UDP, with the reason of nm_decide_query. On NM_ROUTE_RESOLVE `to` says where to; `port` is the
 * socket's own, 0 if it has none.
 */
static __always_inline int nm_route_query(struct bpf_sock_addr *ctx, struct bpf_sock *sk,
					  const struct nm_workload *workload, struct nm_endpoint *to, __u32 reason,
					  __u16 port)
{
	int place;

	if (reason == NM_UNTOUCHED)
		return NM_ROUTE_LEAVE;
	if (reason == NM_REASON_DNS_CAPTURED) {
		place = nm_ask(sk, to);
		if (place >= 0) {
			if (nm_publish_query(workload, to, place, port))
				nm_tell(ctx, NM_REASON_DNS_RESOLVER_LOST, workload->key, to);
			nm_count(reason);
			nm_to_resolver(to, place);
			return NM_ROUTE_RESOLVE;
		}
		reason = NM_REASON_DNS_LEFT;
	}
	nm_tell(ctx, reason, workload->key, to);
	return NM_ROUTE_LEAVE;
}
