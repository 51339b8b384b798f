// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "cmeshlinux_path.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };

static int is_ip4(const uint8_t ip[16])
{
	return memcmp(ip, mapped, sizeof(mapped)) == 0;
}

static socklen_t pack(struct sockaddr_storage *storage, const uint8_t ip[16], uint16_t port)
{
	memset(storage, 0, sizeof(*storage));
	if (is_ip4(ip)) {
		struct sockaddr_in *in = (struct sockaddr_in *)storage;

		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		memcpy(&in->sin_addr, ip + 12, 4);
		return sizeof(*in);
	}
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)storage;

	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	memcpy(&in6->sin6_addr, ip, 16);
	return sizeof(*in6);
}

static void unpack(struct nm_diag_end *end, const struct sockaddr_storage *storage)
{
	memset(end, 0, sizeof(*end));
	if (storage->ss_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)storage;

		memcpy(end->ip, mapped, sizeof(mapped));
		memcpy(end->ip + 12, &in->sin_addr, 4);
		end->port = ntohs(in->sin_port);
	} else if (storage->ss_family == AF_INET6) {
		const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)storage;

		memcpy(end->ip, &in6->sin6_addr, 16);
		end->port = ntohs(in6->sin6_port);
	}
}

static int wait_for(int fd, short events, int milliseconds)
{
	struct pollfd entry = { .fd = fd, .events = events };
	int ready;

	do
		ready = poll(&entry, 1, milliseconds);
	while (ready < 0 && errno == EINTR);
	if (ready == 0) {
		errno = ETIMEDOUT;
		return -1;
	}
	return ready < 0 ? -1 : 0;
}

int nm_path_socket(const uint8_t ip[16])
{
	struct sockaddr_storage storage;
	socklen_t length = pack(&storage, ip, 0);
	int fd = socket(storage.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);

	if (fd < 0)
		return -1;
	if (bind(fd, (struct sockaddr *)&storage, length) < 0) {
		int error = errno;

		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

int nm_path_name(int fd, struct nm_diag_end *end)
{
	struct sockaddr_storage storage = { 0 };
	socklen_t length = sizeof(storage);

	if (getsockname(fd, (struct sockaddr *)&storage, &length) < 0)
		return -1;
	unpack(end, &storage);
	return 0;
}

int nm_path_listen(int fd)
{
	return listen(fd, 1);
}

int nm_path_connect(int fd, const struct nm_diag_end *end, int milliseconds)
{
	struct sockaddr_storage storage;
	socklen_t length = pack(&storage, end->ip, end->port), size = sizeof(int);
	int error = 0;

	if (connect(fd, (struct sockaddr *)&storage, length) == 0)
		return 0;
	if (errno != EINPROGRESS || wait_for(fd, POLLOUT, milliseconds) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0)
		return -1;
	if (!error)
		return 0;
	errno = error;
	return -1;
}

int nm_path_accept(int fd, struct nm_diag_end *peer, int milliseconds)
{
	struct sockaddr_storage storage = { 0 };
	socklen_t length = sizeof(storage);
	int accepted;

	if (wait_for(fd, POLLIN, milliseconds) < 0)
		return -1;
	accepted = accept4(fd, (struct sockaddr *)&storage, &length, SOCK_CLOEXEC);
	if (accepted >= 0)
		unpack(peer, &storage);
	return accepted;
}
