/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/* The addresses a workload has itself. */
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#include "addr.h"
#include "nodemesh_abi.h"

static __always_inline int nm_is_self(const struct nm_workload *workload, const __u32 ip[4])
{
	for (__u32 i = 0; i < NM_OWN_ADDRESSES; i++) {
		if (i >= workload->own_count)
			break;
		if (nm_same_ip(workload->own[i], ip))
			return 1;
	}
	return 0;
}
