/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/* Direct connections of two workloads that both ask for acceleration: their ends put bytes into each other's queue. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "config.h"
#include "direct.h"
#include "maps.h"
#include "reason.h"

#define NM_BOTH_JOINED (NM_FLOW_CLIENT_JOINED | NM_FLOW_SERVER_JOINED)

static __always_inline int nm_is_joined(__u32 flags)
{
	return (flags & NM_BOTH_JOINED) == NM_BOTH_JOINED;
}

static __always_inline __u32 nm_joined_flag(__u32 side)
{
	return side ? NM_FLOW_SERVER_JOINED : NM_FLOW_CLIENT_JOINED;
}

/* Where an end stands in nm_sockmap. */
static __always_inline void nm_member_key(struct nm_flow_key *member, const struct nm_flow_key *key, __u32 side)
{
	*member = *key;
	member->pad = 1 + side;
}

/* An end is established. Whatever stands in the way, the connection stays what it is: plain TCP. */
static __always_inline void nm_join(struct bpf_sock_ops *ops, struct bpf_sock *sk, const struct nm_flow_key *key,
				    __u32 side)
{
	struct nm_settings *settings = nm_get_settings();
	struct nm_direct_flow *flow;
	struct nm_flow_key member;
	struct nm_join *join;

	if (!settings || !(settings->flags & NM_SETTING_SOCKMAP))
		return;
	/* A subflow's bytes are not the connection's. */
	if ((nm_config.flags & NM_CONFIG_MULTIPATH) && bpf_skc_to_mptcp_sock(sk))
		return;
	flow = bpf_map_lookup_elem(&nm_direct, key);
	if (!flow || flow->kind != NM_FLOW_DIRECT || !(flow->flags & NM_FLOW_ACCELERATED))
		return;
	join = bpf_sk_storage_get(&nm_joins, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!join)
		return;
	join->key = *key;
	join->cookie = flow->cookie;
	join->side = side;
	join->decision = NM_JOIN_UNDECIDED;
	nm_member_key(&member, key, side);
	/* Full, or not to be had for a socket map. */
	if (bpf_sock_hash_update(ops, &nm_sockmap, &member, BPF_NOEXIST)) {
		join->decision = NM_JOIN_TCP;
		return;
	}
	/* Only one of both ends sees that it is the second. */
	if (nm_is_joined(__sync_fetch_and_or(&flow->flags, nm_joined_flag(side)) | nm_joined_flag(side)))
		nm_count(NM_REASON_SOCKMAP_JOINED);
}
