// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Behind each read from a socket, of whatever kind: where a kernel takes no programs behind its functions. */
#include "reads.h"

/* TP_PROTO(struct sock *sk, int ret, int flags), since Linux 6.3 */
SEC("tp_btf/sock_recv_length")
int nm_received(__u64 *arguments)
{
	nm_count_read((struct sock *)arguments[0], arguments[1], arguments[2]);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
