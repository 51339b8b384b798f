/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/*
 * The direct path: where nodemeshd has left a verdict, a connect goes straight to a workload of this node, and the server's
 * namespace admits exactly that connection. Whatever is missing or in doubt sends the connection to the proxy.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "addr.h"
#include "maps.h"
#include "reason.h"

/* A number drawn from this many decides among targets, see struct nm_target. */
#define NM_SHARES 65536

static __always_inline struct nm_settings *nm_get_settings(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&nm_settings, &zero);
}

static __always_inline struct nm_totals *nm_get_totals(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&nm_totals, &zero);
}

static __always_inline __u64 nm_load(__u32 workload, __u16 port)
{
	struct nm_load_key key = { .key = workload, .port = port };
	__u64 *open = bpf_map_lookup_elem(&nm_loads, &key);

	return open ? *open : 0;
}

static __always_inline void nm_add_load(__u32 workload, __u16 port, __s64 change)
{
	struct nm_load_key key = { .key = workload, .port = port };
	__u64 *open = bpf_map_lookup_elem(&nm_loads, &key);
	__u64 none = 0;

	if (!open) {
		/* Full: this server then counts as idle, which costs balance only. */
		bpf_map_update_elem(&nm_loads, &key, &none, BPF_NOEXIST);
		open = bpf_map_lookup_elem(&nm_loads, &key);
	}
	if (open)
		__sync_fetch_and_add(open, change);
}

/* One of the verdict's targets by their shares; NM_TARGETS: the proxy. */
static __always_inline __u32 nm_draw(const struct nm_verdict *verdict)
{
	__u32 point = bpf_get_prandom_u32() % NM_SHARES;

	for (__u32 i = 0; i < NM_TARGETS; i++) {
		if (i >= verdict->count)
			break;
		if (point < verdict->targets[i].upto)
			return i;
	}
	return NM_TARGETS;
}

/* How much a target carries, in parts of its share: the same rule by which the proxy chooses. */
static __always_inline __u64 nm_cost(const struct nm_verdict *verdict, __u32 i, __u64 times)
{
	const struct nm_target *target = &verdict->targets[i % NM_TARGETS];
	__u32 share = target->upto - (i % NM_TARGETS ? verdict->targets[(i - 1) % NM_TARGETS].upto : 0);

	return (nm_load(target->key, target->port) + 1) * times * NM_SHARES / (share ? share : 1);
}

/* Whether a connect of `workload` to `to` goes straight to a server, which `to` tells then; the socket's storage says what
 * was dialled. */
static __always_inline int nm_go_direct(struct bpf_sock *sk, const struct nm_workload *workload,
					struct nm_endpoint *to)
{
	struct nm_settings *settings = nm_get_settings();
	struct nm_totals *totals = nm_get_totals();
	struct nm_verdict_key key = {};
	const struct nm_target *target;
	struct nm_verdict *verdict;
	struct nm_socket *meta;
	__u32 first, second;

	if (!settings || !totals || !(settings->flags & NM_SETTING_DIRECT))
		return 0;
	key.source = workload->key;
	__builtin_memcpy(key.ip, to->ip, sizeof(key.ip));
	key.port = to->port;
	verdict = bpf_map_lookup_elem(&nm_verdicts, &key);
	if (!verdict)
		return 0;
	if (verdict->generation != settings->generation) {
		nm_count(NM_REASON_DIRECT_STALE);
		return 0;
	}
	if (totals->direct_open >= settings->direct_limit) {
		nm_count(NM_REASON_DIRECT_FULL);
		return 0;
	}
	first = nm_draw(verdict);
	if (first >= NM_TARGETS)
		return 0;
	if (verdict->count > 1) {
		/* The second has to be clearly better. */
		second = nm_draw(verdict);
		if (second < NM_TARGETS && second != first &&
		    nm_cost(verdict, second, 10) < nm_cost(verdict, first, 8))
			first = second;
	}
	target = &verdict->targets[first % NM_TARGETS];
	/* A socket of one family does not reach the other. */
	if (nm_is_ip4(target->ip) != nm_is_ip4(to->ip))
		return 0;
	meta = bpf_sk_storage_get(&nm_sockets, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!meta)
		return 0;
	meta->netns = target->netns;
	meta->address = *to;
	meta->address.pad = workload->flags & NM_WORKLOAD_ACCELERATED ? target->flags : 0;
	meta->workload = workload->key;
	meta->target = target->key;
	meta->generation = verdict->generation;
	meta->kind = NM_SOCKET_DIRECT;
	__builtin_memcpy(to->ip, target->ip, sizeof(to->ip));
	to->port = target->port;
	return 1;
}
