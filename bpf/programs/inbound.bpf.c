// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * sk_lookup of one network namespace: hands new TCP connections to the proxy's inbound listener, their destination
 * unchanged. Where workloads have the namespace for themselves, that is every connection from outside; where they share
 * it, those to ports they listen on, whoever dials. Fails closed: no listener, no connection.
 */
#include "addr.h"
#include "config.h"
#include "event.h"
#include "exclusion.h"
#include "maps.h"
#include "ports.h"
#include "reason.h"

#include <linux/in.h>

#define NM_IS_SHARED (nm_config.flags & NM_CONFIG_SHARED)

/*
 * Traffic of the namespace with itself. The interface index alone does not tell: a connect to an own address of eth0
 * goes over lo, yet shows eth0 here.
 */
static __always_inline int nm_is_local(struct bpf_sk_lookup *ctx, const struct nm_flow_key *flow)
{
	return ctx->ingress_ifindex <= 1 || nm_means_localhost(flow->source_ip) ||
	       nm_same_ip(flow->source_ip, flow->destination_ip);
}

static __always_inline void nm_read_flow(struct nm_flow_key *flow, struct bpf_sk_lookup *ctx)
{
	__builtin_memset(flow, 0, sizeof(*flow));
	flow->netns = nm_config.netns;
	if (ctx->family == NM_AF_INET6) {
		flow->source_ip[0] = ctx->remote_ip6[0];
		flow->source_ip[1] = ctx->remote_ip6[1];
		flow->source_ip[2] = ctx->remote_ip6[2];
		flow->source_ip[3] = ctx->remote_ip6[3];
		flow->destination_ip[0] = ctx->local_ip6[0];
		flow->destination_ip[1] = ctx->local_ip6[1];
		flow->destination_ip[2] = ctx->local_ip6[2];
		flow->destination_ip[3] = ctx->local_ip6[3];
	} else {
		nm_set_ip4(flow->source_ip, ctx->remote_ip4);
		nm_set_ip4(flow->destination_ip, ctx->local_ip4);
	}
	flow->source_port = bpf_ntohs(ctx->remote_port);
	flow->destination_port = ctx->local_port;
}

/* A connection known to reach its server without the proxy: the reason, or NM_REASON_COUNT for none. */
static __always_inline __u32 nm_admitted(const struct nm_flow_key *flow, __u32 owner)
{
	struct nm_direct_flow *direct;

	if (bpf_map_lookup_elem(&nm_proxied, flow))
		return NM_REASON_INBOUND_PROXY;
	direct = bpf_map_lookup_elem(&nm_direct, flow);
	if (!direct)
		return NM_REASON_COUNT;
	switch (direct->kind) {
	case NM_FLOW_DIRECT:
		return NM_REASON_INBOUND_DIRECT;
	case NM_FLOW_PROBE:
		return NM_REASON_INBOUND_PROBE;
	case NM_FLOW_LOCAL:
		/* A workload talks to itself; to another one it goes by the proxy. */
		if (direct->source == owner)
			return NM_REASON_INBOUND_LOCAL;
		break;
	}
	return NM_REASON_COUNT;
}

static __always_inline __u32 nm_steer(struct bpf_sk_lookup *ctx, const struct nm_namespace *namespace, __u32 owner)
{
	__u32 slot = namespace->slot;
	struct bpf_sock *listener;
	long error;

	if (((namespace->flags & NM_NAMESPACE_EXCLUSIONS) && nm_excludes_inbound(ctx->local_port, owner)) ||
	    (nm_has_global_exclusions() && nm_excludes_inbound(ctx->local_port, 0)))
		return NM_REASON_INBOUND_EXCLUDED;
	listener = bpf_map_lookup_elem(&nm_listeners, &slot);
	if (!listener)
		return bpf_map_lookup_elem(&nm_fail_open, &owner) ? NM_REASON_INBOUND_FAILED_OPEN :
								    NM_REASON_INBOUND_REFUSED;
	/* Without BPF_SK_LOOKUP_F_NO_REUSEPORT the kernel spreads over the listener's SO_REUSEPORT group. */
	error = bpf_sk_assign(ctx, listener, 0);
	bpf_sk_release(listener);
	return error ? NM_REASON_INBOUND_FAMILY_REFUSED : NM_REASON_INBOUND_STEERED;
}

static __always_inline void nm_tell(__u32 reason, __u32 owner, const struct nm_flow_key *flow)
{
	struct nm_decision decision = { .reason = reason, .workload = owner, .netns = nm_config.netns };

	__builtin_memcpy(decision.source.ip, flow->source_ip, sizeof(flow->source_ip));
	__builtin_memcpy(decision.destination.ip, flow->destination_ip, sizeof(flow->destination_ip));
	decision.source.port = flow->source_port;
	decision.destination.port = flow->destination_port;
	nm_announce(&decision);
}

SEC("sk_lookup")
int nm_inbound(struct bpf_sk_lookup *ctx)
{
	__u64 netns = nm_config.netns;
	struct nm_namespace *namespace;
	struct nm_flow_key flow;
	__u32 reason, owner = 0;

	if (ctx->protocol != IPPROTO_TCP)
		return SK_PASS;
	if (NM_IS_SHARED) {
		owner = nm_port_owner(netns, ctx->local_port);
		if (!owner && !nm_port_is_lost(ctx->local_port)) {
			nm_count(NM_REASON_INBOUND_UNOWNED);
			return SK_PASS;
		}
	}
	nm_read_flow(&flow, ctx);
	if (!NM_IS_SHARED && nm_is_local(ctx, &flow)) {
		nm_count(NM_REASON_INBOUND_LOCAL);
		return SK_PASS;
	}
	namespace = bpf_map_lookup_elem(&nm_namespaces, &netns);
	if (namespace && !NM_IS_SHARED)
		owner = namespace->workload;
	reason = nm_admitted(&flow, owner);
	if (reason == NM_REASON_COUNT) {
		if (NM_IS_SHARED && !owner)
			reason = NM_REASON_PORT_LOST;
		else
			reason = namespace ? nm_steer(ctx, namespace, owner) : NM_REASON_INBOUND_REFUSED;
	}
	switch (reason) {
	case NM_REASON_INBOUND_PROXY:
	case NM_REASON_INBOUND_LOCAL:
	case NM_REASON_INBOUND_DIRECT:
	case NM_REASON_INBOUND_STEERED:
		nm_count(reason);
		return SK_PASS;
	case NM_REASON_INBOUND_PROBE:
	case NM_REASON_INBOUND_EXCLUDED:
	case NM_REASON_INBOUND_FAILED_OPEN:
		nm_tell(reason, owner, &flow);
		return SK_PASS;
	default:
		nm_tell(reason, owner, &flow);
		return SK_DROP;
	}
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
