// SPDX-License-Identifier: Apache-2.0
//
// Network interfaces (rtnetlink(7)). As in cmeshlinux.h, every function keeps the contract of the call it wraps.
#pragma once
#include <stdint.h>

struct nm_link {
	uint32_t index;
	/// Index of what it is tied to: the other end of a veth, in that end's namespace; its own where there is nothing.
	uint32_t peer;
	uint8_t mac[6];
	uint8_t is_veth;
};

/// The interface with this index in the calling thread's network namespace.
int nm_link_read(uint32_t index, struct nm_link *link);
/// The index of the interface with this name, 0 for none.
uint32_t nm_link_index(const char *name);
