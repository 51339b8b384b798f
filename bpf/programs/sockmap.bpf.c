// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * sk_msg of nm_sockmap: what one end of an accelerated connection sends goes into the other's queue, past TCP. A socket
 * decides once, at its first byte, and never changes: bytes that took both ways would overtake each other. There is no
 * way to make a sender wait here, so a reader that leaves too much ends the connection.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "flow_event.h"
#include "kernel.h"
#include "sockmap.h"

/* With TCP Fast Open, or by a send() that waited for the handshake, bytes may be on their way already. */
static __always_inline int nm_has_sent(struct bpf_sock *sk)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);

	return !tcp || tcp->bytes_sent || tcp->write_seq != tcp->snd_nxt;
}

/* What waits in the reader's queue, and what it costs to keep it there. */
static __always_inline __u64 nm_waiting(struct nm_stream *stream)
{
	__u64 taken = stream->taken;
	__u64 unread = stream->redirected > taken ? stream->redirected - taken : 0;

	/* Messages are not seen leaving: those before the mark are gone when its bytes are. */
	if (taken >= stream->mark) {
		stream->earlier = stream->recent;
		stream->recent = 0;
		stream->mark = stream->redirected;
	}
	if (!unread)
		return 0;
	return unread + ((__u64)stream->earlier + stream->recent) * NM_MESSAGE_COST;
}

static __always_inline void nm_stall(const struct nm_flow_key *key, struct nm_direct_flow *flow)
{
	struct nm_event *event;

	if (flow->flags & NM_FLOW_STALLED)
		return;
	nm_count(NM_REASON_SOCKMAP_STALLED);
	event = nm_direct_event(key, flow, NM_EVENT_DECISION);
	/* Not lost: the next attempt tells. */
	if (!event)
		return;
	event->reason = NM_REASON_SOCKMAP_STALLED;
	bpf_ringbuf_submit(event, 0);
	__sync_fetch_and_or(&flow->flags, NM_FLOW_STALLED);
}

SEC("sk_msg")
int nm_forward(struct sk_msg_md *msg)
{
	struct nm_settings *settings = nm_get_settings();
	struct bpf_sock *sk = msg->sk;
	struct nm_direct_flow *flow;
	struct nm_flow_key key, to;
	struct nm_stream *stream;
	struct nm_join *join;
	__u32 size = msg->size;
	__u32 other;

	if (!sk || !settings)
		return SK_PASS;
	join = bpf_sk_storage_get(&nm_joins, sk, 0, 0);
	if (!join || join->decision == NM_JOIN_TCP)
		return SK_PASS;
	key = join->key;
	other = join->side ? 0 : 1;
	flow = bpf_map_lookup_elem(&nm_direct, &key);
	/* The client is gone, and its ports may be another's. */
	if (flow && flow->cookie != join->cookie)
		flow = 0;
	if (join->decision == NM_JOIN_UNDECIDED) {
		if (!flow || !(flow->flags & nm_joined_flag(other)) || nm_has_sent(sk)) {
			join->decision = NM_JOIN_TCP;
			return SK_PASS;
		}
		join->decision = NM_JOIN_REDIRECT;
	}
	if (!flow)
		return SK_PASS;
	stream = join->side ? &flow->streams[1] : &flow->streams[0];
	if ((flow->flags & NM_FLOW_STALLED) ||
	    nm_waiting(stream) + size + NM_MESSAGE_COST > settings->sockmap_cap) {
		nm_stall(&key, flow);
		return SK_DROP;
	}
	nm_member_key(&to, &key, other);
	/* Nobody there: it was closed, and TCP tells the sender. */
	if (bpf_msg_redirect_hash(msg, &nm_sockmap, &to, BPF_F_INGRESS) != SK_PASS)
		return SK_PASS;
	stream->redirected += size;
	stream->recent++;
	return SK_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
