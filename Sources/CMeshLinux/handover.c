// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "cmeshlinux_handover.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

int nm_unread_bytes(int fd)
{
	int count = 0;
	return ioctl(fd, FIONREAD, &count) < 0 ? -1 : count;
}

int nm_is_listening(int fd)
{
	int value = 0;
	socklen_t length = sizeof(value);
	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &length) < 0 ? -1 : value;
}

/* include/net/tcp_states.h */
enum { FIN_WAIT1 = 4, FIN_WAIT2 = 5, TIME_WAIT = 6, CLOSED = 7, CLOSE_WAIT = 8, LAST_ACK = 9, CLOSING = 11 };

static int queues(int fd, int *unread, int *unacknowledged)
{
	if (ioctl(fd, SIOCINQ, unread) < 0)
		return -1;
	return ioctl(fd, SIOCOUTQ, unacknowledged);
}

static int has_urgent(int fd)
{
	struct pollfd poller = { .fd = fd, .events = POLLPRI };

	return poll(&poller, 1, 0) > 0 && (poller.revents & POLLPRI);
}

int nm_stream_counts(int fd, struct nm_stream_counts *counts)
{
	struct tcp_info info;

	/* Three calls see one moment when both queues are as long afterwards as before. */
	for (int attempt = 0; attempt < 64; attempt++) {
		int unread[2], unacknowledged[2];
		socklen_t size = sizeof(info);

		if (queues(fd, &unread[0], &unacknowledged[0]) < 0)
			return -1;
		if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
			return -1;
		if (size < offsetof(struct tcp_info, tcpi_bytes_received) + sizeof(info.tcpi_bytes_received)) {
			errno = ENOPROTOOPT;
			return -1;
		}
		if (queues(fd, &unread[1], &unacknowledged[1]) < 0)
			return -1;
		if (unread[0] != unread[1] || unacknowledged[0] != unacknowledged[1])
			continue;
		/* SIOCINQ stops counting at urgent data. */
		if (has_urgent(fd))
			break;
		counts->end_received = info.tcpi_state == CLOSE_WAIT || info.tcpi_state == LAST_ACK ||
				       info.tcpi_state == CLOSING || info.tcpi_state == TIME_WAIT;
		counts->end_sent = info.tcpi_state == FIN_WAIT1 || info.tcpi_state == FIN_WAIT2 ||
				   info.tcpi_state == CLOSING || info.tcpi_state == LAST_ACK ||
				   info.tcpi_state == TIME_WAIT;
		counts->is_open = info.tcpi_state != CLOSED;
		/* FIN counts as a byte in both sums, but not in SIOCINQ. */
		counts->read = info.tcpi_bytes_received - (uint64_t)unread[1] - counts->end_received;
		counts->written = info.tcpi_bytes_acked + (uint64_t)unacknowledged[1] - counts->end_sent;
		return 0;
	}
	errno = EAGAIN;
	return -1;
}

int nm_duplicate(int fd) { return fcntl(fd, F_DUPFD_CLOEXEC, 0); }

int nm_disconnect(int fd)
{
	struct sockaddr address = { .sa_family = AF_UNSPEC };

	return connect(fd, &address, sizeof(address));
}

void *nm_shared_memory(const char *name, size_t size, int *fd)
{
	void *memory;

	*fd = memfd_create(name, MFD_CLOEXEC);
	if (*fd < 0)
		return MAP_FAILED;
	memory = ftruncate(*fd, (off_t)size) < 0 ? MAP_FAILED
						 : mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, *fd, 0);
	if (memory == MAP_FAILED) {
		int saved = errno;

		close(*fd);
		errno = saved;
	}
	return memory;
}
