/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/* What is left alone by configuration or by nature. */
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#include "addr.h"
#include "maps.h"

#define NM_DNS_PORT 53

static __always_inline int nm_excludes(const struct nm_endpoint *to, __u32 workload)
{
	struct nm_excluded_port port = { .workload = workload, .port = to->port, .direction = NM_OUTBOUND };
	struct nm_exclusion_key key = { .length = 160, .workload = workload };
	__u32 *family;

	if (bpf_map_lookup_elem(&nm_excluded_ports, &port))
		return 1;
	__builtin_memcpy(key.ip, to->ip, sizeof(key.ip));
	family = bpf_map_lookup_elem(&nm_excluded_prefixes, &key);
	return family && *family == (nm_is_ip4(to->ip) ? NM_FAMILY_IPV4 : NM_FAMILY_IPV6);
}

static __always_inline int nm_excludes_inbound(__u16 number, __u32 workload)
{
	struct nm_excluded_port port = { .workload = workload, .port = number, .direction = NM_INBOUND };

	return bpf_map_lookup_elem(&nm_excluded_ports, &port) != 0;
}

static __always_inline int nm_has_global_exclusions(void)
{
	__u32 zero = 0;
	struct nm_settings *settings = bpf_map_lookup_elem(&nm_settings, &zero);

	return settings && (settings->flags & NM_SETTING_EXCLUSIONS);
}

static __always_inline int nm_is_excluded(const struct nm_workload *workload, const struct nm_endpoint *to)
{
	return (nm_has_global_exclusions() && nm_excludes(to, 0)) ||
	       ((workload->flags & NM_WORKLOAD_EXCLUSIONS) && nm_excludes(to, workload->key));
}

/* DNS, link-local, multicast and broadcast are nobody's service: no prefix of the mesh can mean them. */
static __always_inline int nm_is_never_meshed(const struct nm_endpoint *to)
{
	if (to->port == NM_DNS_PORT)
		return 1;
	if (!nm_is_ip4(to->ip))
		return nm_is_link_local6(to->ip) ||
		       (to->ip[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000);
	return (to->ip[3] & bpf_htonl(0xffff0000)) == bpf_htonl(0xa9fe0000) ||
	       (to->ip[3] & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000) || to->ip[3] == 0xffffffff;
}
