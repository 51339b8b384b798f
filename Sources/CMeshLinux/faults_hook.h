// SPDX-License-Identifier: Apache-2.0
//
// What a wrapped call asks the scripted kernel first.
#pragma once
#include <stddef.h>
#include <stdint.h>

#ifdef NM_FAULTS
#include "cmeshlinux_faults.h"

/// Non-zero: the call fails with errno, which is set. It may lower `*count`. `other` is a second descriptor or -1.
int nm_fault(int call, int fd, int other, size_t *count);
/// Remembers how a descriptor is watched, so that an edge can be made again.
void nm_fault_watched(int epoll, int operation, int fd, uint32_t events, uint64_t data);
int nm_fault_is_pipe(int fd);

#define NM_FAULT(call, fd)                                       \
	do {                                                     \
		if (nm_fault(NM_CALL_##call, fd, -1, NULL))      \
			return -1;                               \
	} while (0)
#define NM_FAULT_COUNT(call, fd, count)                          \
	do {                                                     \
		if (nm_fault(NM_CALL_##call, fd, -1, &(count)))  \
			return -1;                               \
	} while (0)
#else
#define NM_FAULT(call, fd) ((void)0)
#define NM_FAULT_COUNT(call, fd, count) ((void)0)
#endif
