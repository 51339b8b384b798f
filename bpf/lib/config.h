/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include <linux/types.h>
#include <bpf/bpf_helpers.h>

#include "nodemesh_abi.h"

/* Alone in its section, which nodemeshd fills as a whole. */
const volatile struct nm_config nm_config SEC(".rodata.config") = {};
