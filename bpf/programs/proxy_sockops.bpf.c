// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * sockops of the proxy's own cgroup. A connection accepted by an outbound listener, or for DNS, takes over its original destination,
 * one that was steered to an inbound listener learns for whom and of whom it is; a connect inside a workload's namespace
 * announces itself and its real client. Fails closed: an accepted connection without a record is refused by the proxy, an
 * unannounced connect is steered back to it and refused there.
 */
#include "config.h"
#include "flow.h"
#include "maps.h"
#include "ports.h"
#include "reason.h"

static __always_inline void nm_accepted_outbound(struct bpf_sock_ops *ops, struct bpf_sock *sk)
{
	struct nm_flow_value *origin;
	struct nm_socket meta = {};
	struct nm_flow_key key;
	struct nm_ends ends;

	nm_read_ends(&ends, ops);
	nm_flow(&key, ops, &ends.remote, &ends.local);
	origin = bpf_map_lookup_elem(&nm_origins, &key);
	if (!origin) {
		/* Whoever is here may ask nodemeshd for names. */
		if (ends.local.port != nm_config.dns_port)
			nm_count(NM_REASON_ORIGIN_MISSING);
		return;
	}
	meta.address = origin->address;
	meta.address.pad = 0;
	meta.workload = origin->workload;
	meta.kind = NM_SOCKET_ORIGIN;
	if (origin->address.pad != NM_FLOW_KEPT)
		bpf_map_delete_elem(&nm_origins, &key);
	if (bpf_sk_storage_get(&nm_sockets, sk, &meta, BPF_SK_STORAGE_GET_F_CREATE))
		nm_count(NM_REASON_ORIGIN_DELIVERED);
	else
		nm_count(NM_REASON_ORIGIN_LOST);
}

/* Steered connections keep their destination: their local port is the application's. */
static __always_inline void nm_accepted_inbound(struct bpf_sock_ops *ops, struct bpf_sock *sk)
{
	struct nm_direct_flow *direct;
	struct nm_namespace *namespace;
	struct nm_socket meta = { .kind = NM_SOCKET_INBOUND };
	struct nm_flow_key key;
	struct nm_ends ends;

	nm_read_ends(&ends, ops);
	nm_flow(&key, ops, &ends.remote, &ends.local);
	namespace = bpf_map_lookup_elem(&nm_namespaces, &key.netns);
	if (!namespace)
		return;
	meta.workload = namespace->flags & NM_NAMESPACE_SHARED ? nm_port_owner(key.netns, ends.local.port) :
								 namespace->workload;
	/* One of nodemeshd's own ports. */
	if (!meta.workload)
		return;
	direct = bpf_map_lookup_elem(&nm_direct, &key);
	if (direct && direct->kind == NM_FLOW_LOCAL) {
		meta.source = direct->source;
		bpf_map_delete_elem(&nm_direct, &key);
	}
	if (!bpf_sk_storage_get(&nm_sockets, sk, &meta, BPF_SK_STORAGE_GET_F_CREATE))
		nm_count(NM_REASON_ORIGIN_LOST);
}

static __always_inline void nm_connecting(struct bpf_sock_ops *ops)
{
	struct nm_flow_value client = {};
	struct nm_namespace *namespace;
	struct nm_socket *meta;
	struct nm_flow_key key;
	struct nm_ends ends;
	struct bpf_sock *sk = ops->sk;

	if (!sk)
		return;
	nm_read_ends(&ends, ops);
	nm_flow(&key, ops, &ends.local, &ends.remote);
	namespace = bpf_map_lookup_elem(&nm_namespaces, &key.netns);
	if (!namespace)
		return;
	meta = bpf_sk_storage_get(&nm_sockets, sk, 0, 0);
	if (meta && meta->kind == NM_SOCKET_CLIENT) {
		client.address = meta->address;
		client.workload = meta->workload;
	} else if (namespace->flags & NM_NAMESPACE_SHARED) {
		/* Of nodemeshd itself, which lives there: to other nodes, to the control plane. */
		return;
	}
	if (bpf_map_update_elem(&nm_proxied, &key, &client, BPF_ANY)) {
		nm_count(NM_REASON_PROXY_CONNECT_LOST);
		return;
	}
	nm_count(NM_REASON_PROXY_CONNECT);
	nm_watch_state(ops);
}

/* Whatever took no notice of the announcement (a refused connect, a destination outside) must not find it later. */
static __always_inline void nm_closed(struct bpf_sock_ops *ops)
{
	struct nm_flow_key key;
	struct nm_ends ends;

	nm_read_ends(&ends, ops);
	nm_flow(&key, ops, &ends.local, &ends.remote);
	bpf_map_delete_elem(&nm_proxied, &key);
}

SEC("sockops")
int nm_proxy_ops(struct bpf_sock_ops *ops)
{
	struct bpf_sock *sk;

	switch (ops->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		nm_connecting(ops);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		if (ops->args[1] == BPF_TCP_CLOSE)
			nm_closed(ops);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		sk = ops->sk;
		if (!sk)
			break;
		if (ops->local_port == nm_config.outbound_port || ops->local_port == nm_config.dns_port)
			nm_accepted_outbound(ops, sk);
		else if (ops->local_port != nm_config.inbound_port)
			nm_accepted_inbound(ops, sk);
		break;
	}
	return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
