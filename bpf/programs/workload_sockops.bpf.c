// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * sockops of a workload. A captured connect publishes its original destination before its SYN is sent, one inside a shared
 * namespace who dials; an accepted connection that the proxy made takes over the real client; in a shared namespace, ports
 * that begin and cease to be listened on are noted. Fails closed: what is not published, the proxy refuses.
 */
#include "config.h"
#include "direct_flow.h"
#include "event.h"
#include "flow.h"
#include "maps.h"
#include "own.h"
#include "ports.h"
#include "reason.h"

static __always_inline int nm_is_captured(const struct nm_ends *ends)
{
	return (ends->remote.port == nm_config.outbound_port || ends->remote.port == nm_config.dns_port) &&
	       nm_is_capture_address(ends->remote.ip);
}

static __always_inline void nm_lose(struct bpf_sock_ops *ops, __u32 reason, __u32 workload,
				    const struct nm_endpoint *source, const struct nm_endpoint *destination)
{
	struct nm_decision decision = { .reason = reason,
					.workload = workload,
					.netns = bpf_get_netns_cookie(ops),
					.cookie = bpf_get_socket_cookie(ops),
					.source = *source,
					.destination = *destination };

	nm_announce(&decision);
}

static __always_inline void nm_publish_origin(struct bpf_sock_ops *ops, struct bpf_sock *sk,
					      const struct nm_socket *meta, const struct nm_ends *ends)
{
	struct nm_flow_value origin = { .address = meta->address, .workload = meta->workload };
	struct nm_flow_key key;

	nm_flow(&key, ops, &ends->local, &ends->remote);
	/* getpeername() on an MPTCP socket does not find the storage of its subflow, see peername.h. */
	if ((nm_config.flags & NM_CONFIG_MULTIPATH) && bpf_skc_to_mptcp_sock(sk))
		origin.address.pad = NM_FLOW_KEPT;
	if (bpf_map_update_elem(&nm_origins, &key, &origin, BPF_ANY)) {
		nm_lose(ops, NM_REASON_ORIGIN_LOST, meta->workload, &ends->local, &origin.address);
		return;
	}
	nm_watch_state(ops);
}

/* Who dials a port that an enrolled workload of the same namespace listens on: its sk_lookup and the proxy ask. */
static __always_inline void nm_publish_local(struct bpf_sock_ops *ops, const struct nm_workload *workload,
					     const struct nm_ends *ends)
{
	struct nm_direct_flow flow = {};
	struct nm_flow_key key;

	nm_flow(&key, ops, &ends->local, &ends->remote);
	flow.target = nm_port_owner(key.netns, ends->remote.port);
	if (!flow.target)
		return;
	flow.opened = bpf_ktime_get_ns();
	flow.cookie = bpf_get_socket_cookie(ops);
	flow.client_netns = key.netns;
	flow.source = workload->key;
	flow.kind = NM_FLOW_LOCAL;
	flow.dialled = ends->remote;
	if (bpf_map_update_elem(&nm_direct, &key, &flow, BPF_ANY)) {
		nm_lose(ops, NM_REASON_DIRECT_LOST, workload->key, &ends->local, &ends->remote);
		return;
	}
	nm_watch_state(ops);
}

static __always_inline void nm_connecting(struct bpf_sock_ops *ops, const struct nm_workload *workload)
{
	struct nm_socket *meta;
	struct nm_ends ends;
	struct bpf_sock *sk = ops->sk;

	if (!sk)
		return;
	meta = bpf_sk_storage_get(&nm_sockets, sk, 0, 0);
	if (meta && meta->kind == NM_SOCKET_DIRECT) {
		if (nm_direct_connecting(ops, meta, &ends))
			nm_lose(ops, NM_REASON_DIRECT_LOST, workload->key, &ends.local, &meta->address);
	} else if (meta && meta->kind == NM_SOCKET_DIALLED) {
		nm_read_ends(&ends, ops);
		if (nm_is_captured(&ends))
			nm_publish_origin(ops, sk, meta, &ends);
	} else if (workload->flags & NM_WORKLOAD_SHARED) {
		nm_read_ends(&ends, ops);
		if (nm_means_localhost(ends.remote.ip) || nm_same_ip(ends.local.ip, ends.remote.ip) ||
		    nm_is_self(workload, ends.remote.ip))
			nm_publish_local(ops, workload, &ends);
	}
}

static __always_inline void nm_connected(struct bpf_sock_ops *ops)
{
	struct nm_socket *meta;
	struct nm_flow_value *origin;
	struct nm_flow_key key;
	struct nm_ends ends;
	struct bpf_sock *sk = ops->sk;

	/* Only our own interest ends here; another program may watch the same socket. */
	if (!sk || !(ops->bpf_sock_ops_cb_flags & BPF_SOCK_OPS_STATE_CB_FLAG))
		return;
	meta = bpf_sk_storage_get(&nm_sockets, sk, 0, 0);
	if (!meta)
		return;
	if (meta->kind == NM_SOCKET_DIRECT) {
		nm_direct_established(ops, sk, meta);
		return;
	}
	if (meta->kind != NM_SOCKET_DIALLED)
		return;
	if (nm_config.flags & NM_CONFIG_MULTIPATH) {
		nm_read_ends(&ends, ops);
		nm_flow(&key, ops, &ends.local, &ends.remote);
		origin = bpf_map_lookup_elem(&nm_origins, &key);
		if (origin && origin->address.pad == NM_FLOW_KEPT)
			return;
	}
	nm_unwatch_state(ops);
}

static __always_inline void nm_closed(struct bpf_sock_ops *ops)
{
	struct nm_direct_flow *direct;
	struct bpf_sock *sk = ops->sk;
	struct nm_socket *meta;
	struct nm_flow_key key;
	struct nm_ends ends;

	meta = sk ? bpf_sk_storage_get(&nm_sockets, sk, 0, 0) : 0;
	if (meta && meta->kind == NM_SOCKET_DIRECT) {
		nm_direct_closed(ops, sk, meta);
		return;
	}
	nm_read_ends(&ends, ops);
	nm_flow(&key, ops, &ends.local, &ends.remote);
	if (nm_is_captured(&ends)) {
		bpf_map_delete_elem(&nm_origins, &key);
		return;
	}
	direct = bpf_map_lookup_elem(&nm_direct, &key);
	if (direct && direct->kind == NM_FLOW_LOCAL)
		bpf_map_delete_elem(&nm_direct, &key);
}

static __always_inline void nm_accepted(struct bpf_sock_ops *ops, const struct nm_workload *workload)
{
	struct nm_direct_flow *direct;
	struct nm_flow_value *found;
	struct nm_socket meta = {};
	struct nm_flow_key key;
	struct nm_ends ends;
	struct bpf_sock *sk = ops->sk;

	if (!sk)
		return;
	nm_read_ends(&ends, ops);
	nm_flow(&key, ops, &ends.remote, &ends.local);
	if (workload->flags & NM_WORKLOAD_SHARED) {
		/* Inherited from the listener. */
		nm_unwatch_state(ops);
		direct = bpf_map_lookup_elem(&nm_direct, &key);
		if (direct && direct->kind == NM_FLOW_LOCAL)
			bpf_map_delete_elem(&nm_direct, &key);
	}
	/* Nobody but nodemeshd, which knows the server's wish too, makes a connection one of these. */
	if (workload->flags & NM_WORKLOAD_ACCELERATED)
		nm_join(ops, sk, &key, 1);
	found = bpf_map_lookup_elem(&nm_proxied, &key);
	if (found) {
		meta.address = found->address;
		meta.kind = NM_SOCKET_CLIENT;
		bpf_map_delete_elem(&nm_proxied, &key);
		if (!meta.address.port)
			return;
	} else if (workload->flags & NM_WORKLOAD_ORIGINAL) {
		meta.kind = NM_SOCKET_ACCEPTED;
	} else {
		return;
	}
	meta.workload = workload->key;
	if (!bpf_sk_storage_get(&nm_sockets, sk, &meta, BPF_SK_STORAGE_GET_F_CREATE))
		nm_lose(ops, NM_REASON_CLIENT_LOST, workload->key, &ends.remote, &ends.local);
	else if (meta.kind == NM_SOCKET_CLIENT)
		nm_count(NM_REASON_CLIENT_DELIVERED);
}

static __always_inline void nm_listening(struct bpf_sock_ops *ops, const struct nm_workload *workload)
{
	struct nm_ends ends;

	if (!(workload->flags & NM_WORKLOAD_SHARED))
		return;
	nm_watch_state(ops);
	if (!nm_port_opened(bpf_get_netns_cookie(ops), ops->local_port, workload->key))
		return;
	nm_read_ends(&ends, ops);
	__builtin_memset(&ends.remote, 0, sizeof(ends.remote));
	nm_lose(ops, NM_REASON_PORT_LOST, workload->key, &ends.remote, &ends.local);
}

static __always_inline void nm_state_changed(struct bpf_sock_ops *ops, const struct nm_workload *workload)
{
	if (ops->args[1] != BPF_TCP_CLOSE)
		return;
	if (ops->args[0] == BPF_TCP_LISTEN)
		nm_port_closed(bpf_get_netns_cookie(ops), ops->local_port, workload->key);
	else
		nm_closed(ops);
}

SEC("sockops")
int nm_workload_ops(struct bpf_sock_ops *ops)
{
	struct nm_workload *workload = bpf_get_local_storage(&nm_workloads, 0);

	switch (ops->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		nm_connecting(ops, workload);
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		nm_connected(ops);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		nm_state_changed(ops, workload);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		nm_accepted(ops, workload);
		break;
	case BPF_SOCK_OPS_TCP_LISTEN_CB:
		nm_listening(ops, workload);
		break;
	}
	return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
