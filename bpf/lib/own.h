/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/* The addresses a workload has itself. */
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#include "addr.h"
#include "nodemesh_abi.h"

/* Not inlined: what the verifier learns of the list here would multiply the paths of the caller. */
static __noinline int nm_is_self(const struct nm_workload *workload, const __u32 ip[4])
{
	if (!workload || !ip)
		return 0;
	for (__u32 i = 0; i < NM_OWN_ADDRESSES; i++) {
		if (i >= workload->own_count)
			break;
		if (nm_same_ip(workload->own[i], ip))
			return 1;
	}
	return 0;
}
