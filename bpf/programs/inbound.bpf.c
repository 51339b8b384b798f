// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/*
 * sk_lookup of one workload's network namespace: hands new TCP connections from outside to the proxy's inbound listener,
 * their destination unchanged. Fails closed: no listener, no connection.
 */
#include "addr.h"
#include "config.h"
#include "maps.h"
#include "reason.h"

#include <linux/in.h>

/*
 * Traffic of the namespace with itself. The interface index alone does not tell: a connect to an own address of eth0
 * goes over lo, yet shows eth0 here.
 */
static __always_inline int nm_is_local(struct bpf_sk_lookup *ctx, const struct nm_flow_key *flow)
{
	return ctx->ingress_ifindex <= 1 || nm_means_localhost(flow->source_ip) ||
	       nm_same_ip(flow->source_ip, flow->destination_ip);
}

SEC("sk_lookup")
int nm_inbound(struct bpf_sk_lookup *ctx)
{
	struct nm_flow_key flow = { .netns = nm_config.netns };
	__u64 netns = nm_config.netns;
	struct nm_namespace *namespace;
	struct bpf_sock *listener = 0;
	__u32 slot, flags = 0;
	long error;

	if (ctx->protocol != IPPROTO_TCP)
		return SK_PASS;
	if (ctx->family == NM_AF_INET6) {
		flow.source_ip[0] = ctx->remote_ip6[0];
		flow.source_ip[1] = ctx->remote_ip6[1];
		flow.source_ip[2] = ctx->remote_ip6[2];
		flow.source_ip[3] = ctx->remote_ip6[3];
		flow.destination_ip[0] = ctx->local_ip6[0];
		flow.destination_ip[1] = ctx->local_ip6[1];
		flow.destination_ip[2] = ctx->local_ip6[2];
		flow.destination_ip[3] = ctx->local_ip6[3];
	} else {
		nm_set_ip4(flow.source_ip, ctx->remote_ip4);
		nm_set_ip4(flow.destination_ip, ctx->local_ip4);
	}
	flow.source_port = bpf_ntohs(ctx->remote_port);
	flow.destination_port = ctx->local_port;

	if (nm_is_local(ctx, &flow)) {
		nm_count(NM_REASON_INBOUND_LOCAL);
		return SK_PASS;
	}
	if (bpf_map_lookup_elem(&nm_proxied, &flow)) {
		nm_count(NM_REASON_INBOUND_PROXY);
		return SK_PASS;
	}
	namespace = bpf_map_lookup_elem(&nm_namespaces, &netns);
	if (namespace) {
		flags = namespace->flags;
		slot = namespace->slot;
		listener = bpf_map_lookup_elem(&nm_listeners, &slot);
	}
	if (!listener) {
		if (flags & NM_NAMESPACE_FAIL_OPEN) {
			nm_count(NM_REASON_INBOUND_FAILED_OPEN);
			return SK_PASS;
		}
		nm_count(NM_REASON_INBOUND_REFUSED);
		return SK_DROP;
	}
	/* Without BPF_SK_LOOKUP_F_NO_REUSEPORT the kernel spreads over the listener's SO_REUSEPORT group. */
	error = bpf_sk_assign(ctx, listener, 0);
	bpf_sk_release(listener);
	if (error) {
		nm_count(NM_REASON_INBOUND_FAMILY_REFUSED);
		return SK_DROP;
	}
	nm_count(NM_REASON_INBOUND_STEERED);
	return SK_PASS;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
