// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * sockops of a workload. A captured connect publishes its original destination before its SYN is sent; an accepted
 * connection that the proxy made takes over the real client. Fails closed: what is not published, the proxy refuses.
 */
#include "config.h"
#include "flow.h"
#include "maps.h"
#include "reason.h"

static __always_inline int nm_is_captured(const struct nm_ends *ends)
{
	return ends->remote.port == nm_config.outbound_port && nm_is_ip4(ends->remote.ip) &&
	       ends->remote.ip[3] == NM_LOOPBACK4;
}

static __always_inline void nm_connecting(struct bpf_sock_ops *ops)
{
	struct nm_flow_value origin = {};
	struct nm_socket *meta;
	struct nm_flow_key key;
	struct nm_ends ends;
	struct bpf_sock *sk = ops->sk;

	if (!sk)
		return;
	meta = bpf_sk_storage_get(&nm_sockets, sk, 0, 0);
	if (!meta || meta->kind != NM_SOCKET_DIALLED)
		return;
	nm_read_ends(&ends, ops);
	if (!nm_is_captured(&ends))
		return;
	nm_flow(&key, ops, &ends.local, &ends.remote);
	origin.address = meta->address;
	origin.workload = meta->workload;
	if (bpf_map_update_elem(&nm_origins, &key, &origin, BPF_ANY)) {
		nm_count(NM_REASON_ORIGIN_LOST);
		return;
	}
	nm_watch_state(ops);
}

static __always_inline void nm_forget_connect(struct bpf_sock_ops *ops)
{
	struct nm_flow_key key;
	struct nm_ends ends;

	nm_read_ends(&ends, ops);
	if (!nm_is_captured(&ends))
		return;
	nm_flow(&key, ops, &ends.local, &ends.remote);
	bpf_map_delete_elem(&nm_origins, &key);
}

static __always_inline void nm_accepted(struct bpf_sock_ops *ops)
{
	struct nm_flow_value *found;
	struct nm_socket meta = {};
	struct nm_flow_key key;
	struct nm_ends ends;
	struct bpf_sock *sk = ops->sk;

	if (!sk)
		return;
	nm_read_ends(&ends, ops);
	nm_flow(&key, ops, &ends.remote, &ends.local);
	found = bpf_map_lookup_elem(&nm_proxied, &key);
	if (!found)
		return;
	meta.address = found->address;
	meta.kind = NM_SOCKET_CLIENT;
	bpf_map_delete_elem(&nm_proxied, &key);
	if (!meta.address.port)
		return;
	if (bpf_sk_storage_get(&nm_sockets, sk, &meta, BPF_SK_STORAGE_GET_F_CREATE))
		nm_count(NM_REASON_CLIENT_DELIVERED);
	else
		nm_count(NM_REASON_CLIENT_LOST);
}

SEC("sockops")
int nm_workload_ops(struct bpf_sock_ops *ops)
{
	switch (ops->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		nm_connecting(ops);
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		if (ops->bpf_sock_ops_cb_flags & BPF_SOCK_OPS_STATE_CB_FLAG) {
			struct bpf_sock *sk = ops->sk;

			/* Only our own interest ends here; another program may watch the same socket. */
			if (sk && bpf_sk_storage_get(&nm_sockets, sk, 0, 0))
				nm_unwatch_state(ops);
		}
		break;
	case BPF_SOCK_OPS_STATE_CB:
		/* Refused or timed out. */
		if (ops->args[0] == BPF_TCP_SYN_SENT && ops->args[1] == BPF_TCP_CLOSE)
			nm_forget_connect(ops);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		nm_accepted(ops);
		break;
	}
	return 1;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
