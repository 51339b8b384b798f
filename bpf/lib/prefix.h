/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/* What belongs to the mesh. */
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#include "addr.h"
#include "maps.h"

static __always_inline int nm_in_mesh(const struct nm_endpoint *to)
{
	struct nm_prefix_key key = { .length = 128 };
	__u32 *family;

	__builtin_memcpy(key.ip, to->ip, sizeof(key.ip));
	family = bpf_map_lookup_elem(&nm_prefixes, &key);
	/* A short IPv6 prefix covers the mapped IPv4 addresses only as numbers. */
	return family && *family == (nm_is_ip4(to->ip) ? NM_FAMILY_IPV4 : NM_FAMILY_IPV6);
}
