/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/* The life of a direct connection, told by the sockops of its client. */
#include <linux/bpf.h>
#include <linux/errno.h>
#include <bpf/bpf_helpers.h>

#include "direct.h"
#include "flow.h"
#include "flow_event.h"
#include "kernel.h"
#include "sockmap.h"

/* enum sock_flags: the other end's FIN was received. */
#define NM_SOCK_DONE (1 << 1)

static __always_inline void nm_direct_key(struct nm_flow_key *key, const struct nm_socket *meta,
					  const struct nm_ends *ends)
{
	__builtin_memset(key, 0, sizeof(*key));
	key->netns = meta->netns;
	__builtin_memcpy(key->source_ip, ends->local.ip, sizeof(key->source_ip));
	__builtin_memcpy(key->destination_ip, ends->remote.ip, sizeof(key->destination_ip));
	key->source_port = ends->local.port;
	key->destination_port = ends->remote.port;
}

static __always_inline void nm_count_direct(__u32 target, __u16 port, __s64 change)
{
	struct nm_totals *totals = nm_get_totals();

	if (totals)
		__sync_fetch_and_add(&totals->direct_open, change);
	nm_add_load(target, port, change);
}

/* Takes an entry out; 0 when there was none. */
static __always_inline int nm_drop_direct(const struct nm_flow_key *key, struct nm_direct_flow *last)
{
	struct nm_direct_flow *flow = bpf_map_lookup_elem(&nm_direct, key);

	if (!flow)
		return 0;
	*last = *flow;
	if (bpf_map_delete_elem(&nm_direct, key))
		return 0;
	if (last->kind == NM_FLOW_DIRECT)
		nm_count_direct(last->target, key->destination_port, -1);
	return 1;
}

/* The SYN is about to be sent. Without an entry (-1) the server's namespace hands it to the proxy, as from a stranger. */
static __always_inline int nm_direct_connecting(struct bpf_sock_ops *ops, const struct nm_socket *meta,
						struct nm_ends *ends)
{
	struct nm_direct_flow flow, last;
	struct nm_flow_key key;

	nm_read_ends(ends, ops);
	nm_direct_key(&key, meta, ends);
	__builtin_memset(&flow, 0, sizeof(flow));
	flow.opened = bpf_ktime_get_ns();
	flow.cookie = bpf_get_socket_cookie(ops);
	flow.client_netns = bpf_get_netns_cookie(ops);
	flow.source = meta->workload;
	flow.target = meta->target;
	flow.generation = meta->generation;
	flow.kind = NM_FLOW_DIRECT;
	flow.state = NM_FLOW_CONNECTING;
	flow.dialled = meta->address;
	flow.dialled.pad = 0;
	if (meta->address.pad & NM_TARGET_ACCELERATED)
		flow.flags = NM_FLOW_ACCELERATED;
	if (bpf_map_update_elem(&nm_direct, &key, &flow, BPF_NOEXIST)) {
		/* Left behind by a socket whose programs were taken away. */
		if (!nm_drop_direct(&key, &last) || bpf_map_update_elem(&nm_direct, &key, &flow, BPF_NOEXIST))
			return -1;
	}
	nm_count_direct(flow.target, key.destination_port, 1);
	nm_watch_state(ops);
	return 0;
}

static __always_inline void nm_direct_established(struct bpf_sock_ops *ops, struct bpf_sock *sk,
						  const struct nm_socket *meta)
{
	struct nm_direct_flow *flow;
	struct nm_flow_key key;
	struct nm_event *event;
	struct nm_ends ends;

	nm_read_ends(&ends, ops);
	nm_direct_key(&key, meta, &ends);
	flow = bpf_map_lookup_elem(&nm_direct, &key);
	if (!flow)
		return;
	flow->state = NM_FLOW_ESTABLISHED;
	event = nm_direct_event(&key, flow, NM_EVENT_DIRECT_OPENED);
	if (event)
		nm_submit_quietly(event);
	if (flow->flags & NM_FLOW_ACCELERATED)
		nm_join(ops, sk, &key, 0);
}

/* How a client's socket came from a state to its end. */
static __always_inline __u32 nm_close_of(__u32 state, int error)
{
	switch (error) {
	case 0:
		break;
	case ETIMEDOUT:
	case EHOSTUNREACH:
	case ENETUNREACH:
		return NM_CLOSE_TIMED_OUT;
	case ECONNABORTED:
		return NM_CLOSE_DESTROYED;
	default:
		return state == BPF_TCP_SYN_SENT ? NM_CLOSE_REFUSED : NM_CLOSE_SERVER_RESET;
	}
	switch (state) {
	case BPF_TCP_FIN_WAIT2:
	case BPF_TCP_CLOSING:
	case BPF_TCP_TIME_WAIT:
		return NM_CLOSE_CLIENT;
	case BPF_TCP_LAST_ACK:
		return NM_CLOSE_SERVER;
	default:
		return NM_CLOSE_CLIENT_RESET;
	}
}

/* The socket's state changes to BPF_TCP_CLOSE. */
static __always_inline void nm_direct_closed(struct bpf_sock_ops *ops, struct bpf_sock *sk, const struct nm_socket *meta)
{
	__u32 state = ops->args[0];
	struct nm_direct_flow last;
	__u64 sent, received;
	struct nm_flow_key key;
	struct nm_event *event;
	struct tcp_sock *tcp;
	struct nm_ends ends;

	nm_read_ends(&ends, ops);
	nm_direct_key(&key, meta, &ends);
	/* The entry may be a successor's by now. */
	if (!nm_drop_direct(&key, &last))
		return;
	tcp = bpf_skc_to_tcp_sock(sk);
	if (!tcp)
		return;
	event = nm_direct_event(&key, &last, NM_EVENT_DIRECT_CLOSED);
	if (!event)
		return;
	event->close = nm_close_of(state, tcp->inet_conn.icsk_inet.sk.sk_err);
	/* The kernel counts SYN and FIN as bytes. */
	sent = ops->bytes_acked;
	if (sent)
		sent--;
	if (sent && (state == BPF_TCP_FIN_WAIT2 ||
		     ((state == BPF_TCP_LAST_ACK || state == BPF_TCP_CLOSING) && ops->snd_una == ops->snd_nxt)))
		sent--;
	received = ops->bytes_received;
	if (received && (tcp->inet_conn.icsk_inet.sk.__sk_common.skc_flags & NM_SOCK_DONE))
		received--;
	/* TCP knows nothing of what went through the socket map. */
	event->bytes_sent = sent + last.streams[0].redirected;
	event->bytes_received = received + last.streams[1].redirected;
	if (nm_is_joined(last.flags))
		event->reason = NM_REASON_SOCKMAP_JOINED;
	nm_submit_quietly(event);
}
