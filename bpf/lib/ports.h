/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/* Who listens where in a namespace of several workloads. */
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#include "maps.h"

/* nm_workload.key of the port's owner, 0 when nobody enrolled listens there. */
static __always_inline __u32 nm_port_owner(__u64 netns, __u16 number)
{
	struct nm_port_key key = { .netns = netns, .port = number };
	struct nm_port *port = bpf_map_lookup_elem(&nm_ports, &key);

	return port && port->listeners ? port->workload : 0;
}

static __always_inline int nm_port_is_lost(__u16 number)
{
	__u32 word = number / 64;
	__u64 *bits = bpf_map_lookup_elem(&nm_lost_ports, &word);

	return bits && (*bits >> (number % 64) & 1);
}

/* Returns -1 when the port had to be given up. */
static __always_inline int nm_port_opened(__u64 netns, __u16 number, __u32 workload)
{
	struct nm_port_key key = { .netns = netns, .port = number };
	struct nm_port fresh = { .workload = workload, .listeners = 1 };
	struct nm_port *port = bpf_map_lookup_elem(&nm_ports, &key);
	__u32 word = number / 64;
	__u64 *bits;

	if (port && port->workload == workload) {
		__sync_fetch_and_add(&port->listeners, 1);
		return 0;
	}
	if (!bpf_map_update_elem(&nm_ports, &key, &fresh, BPF_ANY))
		return 0;
	bits = bpf_map_lookup_elem(&nm_lost_ports, &word);
	if (bits)
		__sync_fetch_and_or(bits, 1ULL << (number % 64));
	return -1;
}

static __always_inline void nm_port_closed(__u64 netns, __u16 number, __u32 workload)
{
	struct nm_port_key key = { .netns = netns, .port = number };
	struct nm_port *port = bpf_map_lookup_elem(&nm_ports, &key);

	/* Opened before somebody else took the port over, or before nodemeshd forgot the count. */
	if (!port || port->workload != workload || !(port->listeners & ~NM_PORT_FOUND))
		return;
	__sync_fetch_and_add(&port->listeners, -1);
}
