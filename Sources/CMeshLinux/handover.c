// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "cmeshlinux_handover.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
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

/* What a number is at least and at most. */
struct bounds {
	uint64_t low, high;
};

static void narrow(struct bounds *bounds, uint64_t low, uint64_t high)
{
	/* Sums wrap: compare by difference. */
	if ((int64_t)(low - bounds->low) > 0)
		bounds->low = low;
	if ((int64_t)(high - bounds->high) < 0)
		bounds->high = high;
}

int nm_stream_counts(int fd, struct nm_stream_counts *counts)
{
	struct bounds read = { 0, 0 }, written = { 0, 0 };
	struct tcp_info info;

	/* Bytes that arrive or are acknowledged between two calls count twice or never, so that one order of the calls
	 * says too much and the other too little: where both say the same it is the truth. */
	for (int attempt = 0; attempt < 64; attempt++) {
		int unread[2], unacknowledged[2], end_received, end_sent;
		uint64_t taken, given;
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
		/* SIOCINQ stops counting at urgent data. */
		if (has_urgent(fd))
			break;
		end_received = info.tcpi_state == CLOSE_WAIT || info.tcpi_state == LAST_ACK ||
			       info.tcpi_state == CLOSING || info.tcpi_state == TIME_WAIT;
		end_sent = info.tcpi_state == FIN_WAIT1 || info.tcpi_state == FIN_WAIT2 ||
			   info.tcpi_state == CLOSING || info.tcpi_state == LAST_ACK || info.tcpi_state == TIME_WAIT;
		/* FIN counts as a byte in both sums, but not in SIOCINQ. */
		taken = info.tcpi_bytes_received - (uint64_t)end_received;
		given = info.tcpi_bytes_acked - (uint64_t)end_sent;
		if (attempt == 0) {
			read.low = taken - (uint64_t)unread[1];
			read.high = taken - (uint64_t)unread[0];
			written.low = given + (uint64_t)unacknowledged[1];
			written.high = given + (uint64_t)unacknowledged[0];
		}
		narrow(&read, taken - (uint64_t)unread[1], taken - (uint64_t)unread[0]);
		narrow(&written, given + (uint64_t)unacknowledged[1], given + (uint64_t)unacknowledged[0]);
		if (read.low != read.high || written.low != written.high)
			continue;
		counts->read = read.low;
		counts->written = written.low;
		counts->end_sent = (uint8_t)end_sent;
		counts->is_open = info.tcpi_state != CLOSED;
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

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77
#endif

int nm_peer_process(int fd)
{
	struct ucred credentials;
	int process = -1;
	socklen_t size = sizeof(process);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, &process, &size) == 0)
		return process;
	if (errno != ENOPROTOOPT)
		return -1;
	size = sizeof(credentials);
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0)
		return -1;
	return (int)syscall(SYS_pidfd_open, credentials.pid, 0);
}

int nm_kill_process(int process)
{
	return (int)syscall(SYS_pidfd_send_signal, process, SIGKILL, NULL, 0);
}
