// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * tc ingress of the host's end of a workload's veth: hands packets of established direct connections to the other
 * workload's end, past the host's own network stack. Whatever it does not know for certain goes on as it was.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/pkt_cls.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "addr.h"
#include "maps.h"

/* More fragments follow, or this is not the first. */
#define NM_IP_FRAGMENT 0x3fff

/* Reads addresses and ports of a TCP packet as `flow`; 0 when it is none. */
static __always_inline int nm_read_packet(struct nm_flow_key *flow, struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	struct ethhdr *ethernet = data;
	struct tcphdr *tcp;

	if (skb->protocol == bpf_htons(ETH_P_IP)) {
		struct iphdr *ip = data + sizeof(*ethernet);

		if ((void *)(ip + 1) > end || ip->ihl != 5 || ip->protocol != IPPROTO_TCP ||
		    (ip->frag_off & bpf_htons(NM_IP_FRAGMENT)))
			return 0;
		nm_set_ip4(flow->source_ip, ip->saddr);
		nm_set_ip4(flow->destination_ip, ip->daddr);
		tcp = (void *)(ip + 1);
	} else if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		struct ipv6hdr *ip = data + sizeof(*ethernet);

		if ((void *)(ip + 1) > end || ip->nexthdr != IPPROTO_TCP)
			return 0;
		__builtin_memcpy(flow->source_ip, &ip->saddr, sizeof(flow->source_ip));
		__builtin_memcpy(flow->destination_ip, &ip->daddr, sizeof(flow->destination_ip));
		tcp = (void *)(ip + 1);
	} else {
		return 0;
	}
	if ((void *)(tcp + 1) > end)
		return 0;
	flow->source_port = bpf_ntohs(tcp->source);
	flow->destination_port = bpf_ntohs(tcp->dest);
	return 1;
}

static __always_inline int nm_is_open(const struct nm_flow_key *flow)
{
	struct nm_direct_flow *direct = bpf_map_lookup_elem(&nm_direct, flow);

	return direct && direct->kind == NM_FLOW_DIRECT && direct->state == NM_FLOW_ESTABLISHED;
}

/* The same connection, seen from the other side. */
static __always_inline void nm_turn(struct nm_flow_key *turned, const struct nm_flow_key *flow, __u64 netns)
{
	__builtin_memset(turned, 0, sizeof(*turned));
	turned->netns = netns;
	__builtin_memcpy(turned->source_ip, flow->destination_ip, sizeof(turned->source_ip));
	__builtin_memcpy(turned->destination_ip, flow->source_ip, sizeof(turned->destination_ip));
	turned->source_port = flow->destination_port;
	turned->destination_port = flow->source_port;
}

SEC("tc")
int nm_redirect(struct __sk_buff *skb)
{
	struct nm_flow_key flow = {}, turned;
	struct nm_local *to, *from;
	__u8 ends[2 * ETH_ALEN];

	if (!nm_read_packet(&flow, skb))
		return TC_ACT_UNSPEC;
	to = bpf_map_lookup_elem(&nm_local, flow.destination_ip);
	from = bpf_map_lookup_elem(&nm_local, flow.source_ip);
	/* The sender has to be who its address says. */
	if (!to || !to->ifindex || !from || from->ifindex != skb->ifindex)
		return TC_ACT_UNSPEC;
	flow.netns = to->netns;
	if (!nm_is_open(&flow)) {
		nm_turn(&turned, &flow, from->netns);
		if (!nm_is_open(&turned))
			return TC_ACT_UNSPEC;
	}
	__builtin_memcpy(ends, to->peer_mac, ETH_ALEN);
	__builtin_memcpy(ends + ETH_ALEN, to->host_mac, ETH_ALEN);
	if (bpf_skb_store_bytes(skb, 0, ends, sizeof(ends), 0))
		return TC_ACT_UNSPEC;
	/* It may have been addressed to the other end itself, through a bridge. */
	bpf_skb_change_type(skb, PACKET_HOST);
	return bpf_redirect_peer(to->ifindex, 0);
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
