/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/*
 * Queries to resolvers, which nodemeshd answers from the loopback address of the namespace. Fails open: without it, names
 * are asked of whom the application wants to ask.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "addr.h"
#include "config.h"
#include "exclusion.h"
#include "maps.h"
#include "reason.h"

/* Not a connect or query for nodemesh: nothing to count. */
#define NM_UNTOUCHED NM_REASON_COUNT

/* Ports that a socket without one is given, as the kernel's default range has them. */
#define NM_FIRST_PORT 32768
#define NM_PORTS 28232
#define NM_PORT_TRIES 4

static __always_inline int nm_has_resolver(const struct nm_workload *workload, const struct nm_endpoint *to)
{
	__u32 index = NM_RESOLVER_INDEX(workload->slot, nm_is_ip4(to->ip));
	struct bpf_sock *listener = bpf_map_lookup_elem(&nm_resolvers, &index);

	if (!listener)
		return 0;
	bpf_sk_release(listener);
	return 1;
}

/* The reason for what happens to a query to `to`, or to a connect of either protocol. */
static __always_inline __u32 nm_decide_query(struct bpf_sock_addr *ctx, struct bpf_sock *sk,
					     const struct nm_workload *workload, const struct nm_endpoint *to)
{
	/* A server that answers a client who asks from port 53 asks nothing. */
	if (to->port != NM_DNS_PORT || !(workload->flags & NM_WORKLOAD_DNS) || sk->src_port == NM_DNS_PORT)
		return NM_UNTOUCHED;
	if (nm_is_excluded(workload, to))
		return NM_UNTOUCHED;
	/*
	 * Through another device loopback is not reached, and in another namespace nobody answers there. An IPv6 link-local
	 * address has an interface that these hooks do not see, and could not give back.
	 */
	if (sk->bound_dev_if || nm_is_link_local6(to->ip) || bpf_get_netns_cookie(ctx) != workload->netns)
		return NM_REASON_DNS_LEFT;
	return nm_has_resolver(workload, to) ? NM_REASON_DNS_CAPTURED : NM_REASON_DNS_FAILED_OPEN;
}

static __always_inline int nm_same_endpoint(const struct nm_endpoint *a, const struct nm_endpoint *b)
{
	return nm_same_ip(a->ip, b->ip) && a->port == b->port;
}

/* The place of the resolver among those that a socket asks, -1 when it cannot have one. */
static __always_inline int nm_ask(struct bpf_sock *sk, const struct nm_endpoint *to)
{
	struct nm_asked *asked = bpf_sk_storage_get(&nm_asked, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	__u32 place;

	if (!asked)
		return -1;
	for (place = 0; place < NM_RESOLVERS; place++) {
		if (nm_same_endpoint(&asked->resolvers[place], to))
			return place;
	}
	for (place = 0; place < NM_RESOLVERS; place++) {
		if (!asked->resolvers[place].port)
			break;
	}
	if (place >= NM_RESOLVERS) {
		place = asked->next;
		if (place >= NM_RESOLVERS)
			place = 0;
		asked->next = place + 1;
	}
	asked->resolvers[place] = *to;
	return place;
}

/* Tells nodemeshd whom a socket with this port asks. Returns -1 when it will not know. */
static __always_inline int nm_publish_query(const struct nm_workload *workload, const struct nm_endpoint *to, __u16 place,
					    __u16 port)
{
	struct nm_query_key key = { .netns = workload->netns, .port = port, .place = place };
	struct nm_flow_value asked = { .address = *to, .workload = workload->key };

	if (!port)
		return -1;
	key.family = nm_is_ip4(to->ip) ? NM_FAMILY_IPV4 : NM_FAMILY_IPV6;
	return bpf_map_update_elem(&nm_queries, &key, &asked, BPF_ANY) ? -1 : 0;
}

/* Makes an address that of nodemeshd, in the same family. */
static __always_inline void nm_to_resolver(struct nm_endpoint *to, __u16 place)
{
	if (nm_is_ip4(to->ip)) {
		nm_set_ip4(to->ip, NM_LOOPBACK4);
	} else {
		to->ip[0] = 0;
		to->ip[1] = 0;
		to->ip[2] = 0;
		to->ip[3] = bpf_htonl(1);
	}
	to->port = nm_config.dns_port + place;
}

/* Whom a UDP socket asked that hears from, or is connected to, `from`; NULL if that is not nodemeshd. */
static __always_inline struct nm_endpoint *nm_asked_of(struct bpf_sock *sk, const struct nm_endpoint *from)
{
	__u32 place = (__u32)from->port - nm_config.dns_port;
	struct nm_asked *asked;

	if (place >= NM_RESOLVERS || !nm_is_capture_address(from->ip))
		return 0;
	asked = bpf_sk_storage_get(&nm_asked, sk, 0, 0);
	if (!asked || !asked->resolvers[place].port)
		return 0;
	return &asked->resolvers[place];
}
