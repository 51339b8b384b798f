/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/* What is read of the kernel's own structs; libbpf finds where it is (CO-RE). */
#include <linux/types.h>

#define NM_KERNEL __attribute__((preserve_access_index))
struct sock_common {
	unsigned long skc_flags;
} NM_KERNEL;
struct sock {
	struct sock_common __sk_common;
	int sk_err;
} NM_KERNEL;
struct inet_sock {
	struct sock sk;
} NM_KERNEL;
struct inet_connection_sock {
	struct inet_sock icsk_inet;
} NM_KERNEL;
struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u32 snd_nxt;
	__u32 write_seq;
	__u64 bytes_sent;
} NM_KERNEL;
