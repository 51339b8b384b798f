/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
#include <linux/types.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define NM_AF_INET 2
#define NM_AF_INET6 10

#define NM_LOOPBACK4 bpf_htonl(0x7f000001)

/*
 * Loads one 32-bit field at a constant offset. The compiler would merge the loads of two branches into one through a
 * computed pointer, which the verifier refuses for contexts and sockets.
 */
#define NM_READ(object, type, field)                                                                                   \
	({                                                                                                             \
		__u32 nm_value;                                                                                        \
		asm volatile("%[value] = *(u32 *)(%[base] + %[offset])"                                                \
			     : [value] "=r"(nm_value)                                                                  \
			     : [base] "r"(object), [offset] "i"(__builtin_offsetof(type, field)));                     \
		nm_value;                                                                                              \
	})

static __always_inline void nm_set_ip4(__u32 ip[4], __u32 ip4)
{
	ip[0] = 0;
	ip[1] = 0;
	ip[2] = bpf_htonl(0xffff);
	ip[3] = ip4;
}

static __always_inline int nm_is_ip4(const __u32 ip[4])
{
	return !ip[0] && !ip[1] && ip[2] == bpf_htonl(0xffff);
}

static __always_inline int nm_same_ip(const __u32 a[4], const __u32 b[4])
{
	return a[0] == b[0] && a[1] == b[1] && a[2] == b[2] && a[3] == b[3];
}

/* 127.0.0.0/8, ::1, and what a connect takes for them: 0.0.0.0 and ::. */
static __always_inline int nm_means_localhost(const __u32 ip[4])
{
	if (nm_is_ip4(ip))
		return !ip[3] || (ip[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000);
	return !ip[0] && !ip[1] && !ip[2] && (!ip[3] || ip[3] == bpf_htonl(1));
}

/* 127.0.0.1 or ::1, where the proxy takes captured connects. */
static __always_inline int nm_is_capture_address(const __u32 ip[4])
{
	if (nm_is_ip4(ip))
		return ip[3] == NM_LOOPBACK4;
	return !ip[0] && !ip[1] && !ip[2] && ip[3] == bpf_htonl(1);
}

/* fe80::/10: an address that means nothing without an interface. */
static __always_inline int nm_is_link_local6(const __u32 ip[4])
{
	return (ip[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}
