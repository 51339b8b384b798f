/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/* Telling nodemeshd about one direct connection. */
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#include "maps.h"
#include "reason.h"

/* To be submitted; 0 when the ring is full, which is counted: nodemeshd finds out from nm_direct. */
static __always_inline struct nm_event *nm_direct_event(const struct nm_flow_key *key,
							const struct nm_direct_flow *flow, __u32 type)
{
	struct nm_event *event = bpf_ringbuf_reserve(&nm_events, sizeof(*event), 0);

	if (!event) {
		nm_count(NM_REASON_EVENT_LOST);
		return 0;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->time = bpf_ktime_get_ns();
	event->type = type;
	event->reason = NM_REASON_DIRECT;
	event->workload = flow->source;
	event->target = flow->target;
	__builtin_memcpy(event->source.ip, key->source_ip, sizeof(event->source.ip));
	event->source.port = key->source_port;
	event->destination = flow->dialled;
	__builtin_memcpy(event->upstream.ip, key->destination_ip, sizeof(event->upstream.ip));
	event->upstream.port = key->destination_port;
	event->netns = key->netns;
	event->cookie = flow->cookie;
	event->duration = event->time - flow->opened;
	return event;
}

/*
 * Does not wake nodemeshd, which looks by itself every NM_EVENTS_PAUSE milliseconds: waking it for each connection would
 * take from what the connection saves. Unless much has piled up.
 */
static __always_inline void nm_submit_quietly(struct nm_event *event)
{
	__u64 waiting = bpf_ringbuf_query(&nm_events, BPF_RB_AVAIL_DATA);
	__u64 size = bpf_ringbuf_query(&nm_events, BPF_RB_RING_SIZE);

	bpf_ringbuf_submit(event, waiting < size / 4 ? BPF_RB_NO_WAKEUP : BPF_RB_FORCE_WAKEUP);
}
