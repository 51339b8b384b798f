/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/* Telling nodemeshd about one decision. */
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#include "maps.h"
#include "reason.h"

struct nm_decision {
	__u32 reason;
	__u32 workload; /* nm_workload.key, 0 if unknown */
	__u64 netns;	/* of the server, 0 if unknown */
	__u64 cookie;	/* of the client's socket, 0 if unknown */
	struct nm_endpoint source;
	struct nm_endpoint destination;
};

/* Counts the decision and puts it on the ring. A full ring loses it, which is counted too. */
static __noinline int nm_announce(const struct nm_decision *decision)
{
	struct nm_event *event;

	if (!decision)
		return 0;
	nm_count(decision->reason);
	event = bpf_ringbuf_reserve(&nm_events, sizeof(*event), 0);
	if (!event) {
		nm_count(NM_REASON_EVENT_LOST);
		return 0;
	}
	__builtin_memset(event, 0, sizeof(*event));
	event->time = bpf_ktime_get_ns();
	event->type = NM_EVENT_DECISION;
	event->reason = decision->reason;
	event->workload = decision->workload;
	event->source = decision->source;
	event->destination = decision->destination;
	event->netns = decision->netns;
	event->cookie = decision->cookie;
	bpf_ringbuf_submit(event, 0);
	return 0;
}
