/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include "maps.h"

static __always_inline void nm_count(__u32 reason)
{
	__u64 *counter = bpf_map_lookup_elem(&nm_counters, &reason);

	/* Atomic because a program may be preempted by another one on the same CPU. */
	if (counter)
		__sync_fetch_and_add(counter, 1);
}
