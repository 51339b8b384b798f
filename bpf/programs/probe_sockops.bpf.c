// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * sockops of a cgroup whose connects are health probes: each to a workload of this node is announced before its SYN is
 * sent, and the workload's sk_lookup lets it through. What is not announced is steered to the proxy like any other.
 */
#include "event.h"
#include "flow.h"
#include "maps.h"
#include "ports.h"

/* Fills in the server's namespace and workload; 0 when it is none of this node. */
static __always_inline int nm_find_server(struct bpf_sock_ops *ops, const struct nm_endpoint *to, __u64 *netns,
					  __u32 *workload)
{
	struct nm_local_key key;
	struct nm_local *local;

	__builtin_memcpy(key.ip, to->ip, sizeof(key.ip));
	local = bpf_map_lookup_elem(&nm_local, &key);
	if (local) {
		*netns = local->netns;
		*workload = local->workload;
		return 1;
	}
	*netns = bpf_get_netns_cookie(ops);
	*workload = nm_port_owner(*netns, to->port);
	return *workload != 0;
}

static __always_inline void nm_connecting(struct bpf_sock_ops *ops)
{
	struct nm_direct_flow flow = {};
	struct nm_decision decision = {};
	struct nm_flow_key key;
	struct nm_ends ends;

	nm_read_ends(&ends, ops);
	nm_flow(&key, ops, &ends.local, &ends.remote);
	flow.client_netns = key.netns;
	if (!nm_find_server(ops, &ends.remote, &key.netns, &flow.target))
		return;
	flow.opened = bpf_ktime_get_ns();
	flow.cookie = bpf_get_socket_cookie(ops);
	flow.kind = NM_FLOW_PROBE;
	flow.dialled = ends.remote;
	if (!bpf_map_update_elem(&nm_direct, &key, &flow, BPF_ANY)) {
		nm_watch_state(ops);
		return;
	}
	decision.reason = NM_REASON_DIRECT_LOST;
	decision.netns = key.netns;
	decision.cookie = flow.cookie;
	decision.source = ends.local;
	decision.destination = ends.remote;
	nm_announce(&decision);
}

static __always_inline void nm_closed(struct bpf_sock_ops *ops)
{
	struct nm_direct_flow *direct;
	struct nm_flow_key key;
	struct nm_ends ends;
	__u32 workload;

	nm_read_ends(&ends, ops);
	nm_flow(&key, ops, &ends.local, &ends.remote);
	if (!nm_find_server(ops, &ends.remote, &key.netns, &workload))
		key.netns = bpf_get_netns_cookie(ops);
	direct = bpf_map_lookup_elem(&nm_direct, &key);
	if (direct && direct->kind == NM_FLOW_PROBE)
		bpf_map_delete_elem(&nm_direct, &key);
}

SEC("sockops")
int nm_probe_ops(struct bpf_sock_ops *ops)
{
	switch (ops->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		nm_connecting(ops);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		if (ops->args[1] == BPF_TCP_CLOSE)
			nm_closed(ops);
		break;
	}
	return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
