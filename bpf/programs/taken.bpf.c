// SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause
/* Behind the kernel's function that reads from sockets in a socket map, and from no others. */
#include "reads.h"

/* int tcp_bpf_recvmsg(struct sock *sk, struct msghdr *msg, size_t len, int flags, ...) */
SEC("fexit/tcp_bpf_recvmsg")
int nm_taken(__u64 *arguments)
{
	__u64 result;

	if (!bpf_get_func_ret(arguments, &result))
		nm_count_read((struct sock *)arguments[0], result, arguments[3]);
	return 0;
}

char LICENSE[] SEC("license") = "Dual BSD/GPL";
