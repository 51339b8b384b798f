/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/* Counting what is read from sockets in the socket map. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "kernel.h"
#include "maps.h"

/* Flags of recvmsg(2) with which nothing leaves the queue. */
#define NM_MSG_PEEK 2
#define NM_MSG_ERRQUEUE 0x2000

/* A read has returned `result`. */
static __always_inline void nm_count_read(struct sock *sk, int result, __u32 flags)
{
	struct nm_direct_flow *flow;
	struct nm_flow_key key;
	struct nm_join *join;

	if (!sk || result <= 0 || (flags & (NM_MSG_PEEK | NM_MSG_ERRQUEUE)))
		return;
	join = bpf_sk_storage_get(&nm_joins, sk, 0, 0);
	if (!join)
		return;
	key = join->key;
	flow = bpf_map_lookup_elem(&nm_direct, &key);
	if (!flow || flow->cookie != join->cookie)
		return;
	/* The reader's lock is not held any more: two of its threads may be here. */
	__sync_fetch_and_add(join->side ? &flow->streams[0].taken : &flow->streams[1].taken, (__u64)result);
}
