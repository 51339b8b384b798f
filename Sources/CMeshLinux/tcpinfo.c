// SPDX-License-Identifier: Apache-2.0
// By itself, since <linux/tcp.h>, whose struct is the longer one, and <netinet/tcp.h> exclude each other.
#include "cmeshlinux.h"

#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

int nm_tcp_info(int fd, struct nm_tcp_info *info)
{
	struct tcp_info kernel;
	socklen_t length = sizeof(kernel);

	// An older kernel fills less.
	memset(&kernel, 0, sizeof(kernel));
	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &kernel, &length) < 0)
		return -1;
	info->smoothed_rtt = kernel.tcpi_rtt;
	info->least_rtt = kernel.tcpi_min_rtt;
	info->retransmitted_segments = kernel.tcpi_total_retrans;
	info->sent_segments = kernel.tcpi_segs_out;
	return 0;
}
