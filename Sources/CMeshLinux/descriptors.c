// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "cmeshlinux_descriptors.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define MESSAGE_DESCRIPTORS 253
#define ALL_SEALS (F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE)

const int nm_message_descriptors = MESSAGE_DESCRIPTORS;

union control {
	struct cmsghdr header;
	char space[CMSG_SPACE(MESSAGE_DESCRIPTORS * sizeof(int))];
};

int nm_unix_datagram(void) { return socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0); }

int nm_unix_packets(void) { return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0); }

int nm_unix_packet_pair(int fds[2])
{
	return socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, fds);
}

static int name_address(struct sockaddr_un *address, socklen_t *size, const char *name, size_t length, int is_abstract)
{
	/* A path ends with a zero, an abstract name begins with one. */
	if (length == 0 || length + 1 > sizeof(address->sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	memcpy(address->sun_path + (is_abstract ? 1 : 0), name, length);
	*size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
	return 0;
}

int nm_unix_bind(int fd, const char *name, size_t length, int is_abstract)
{
	struct sockaddr_un address;
	socklen_t size;

	if (name_address(&address, &size, name, length, is_abstract) < 0)
		return -1;
	return bind(fd, (struct sockaddr *)&address, size);
}

int nm_unix_connect(int fd, const char *name, size_t length, int is_abstract)
{
	struct sockaddr_un address;
	socklen_t size;

	if (name_address(&address, &size, name, length, is_abstract) < 0)
		return -1;
	return connect(fd, (struct sockaddr *)&address, size);
}

int nm_unix_accept(int fd) { return accept4(fd, NULL, NULL, SOCK_CLOEXEC); }

int nm_peer_credentials(int fd, int32_t *pid, uint32_t *uid)
{
	struct ucred credentials;
	socklen_t size = sizeof(credentials);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) < 0)
		return -1;
	*pid = credentials.pid;
	*uid = credentials.uid;
	return 0;
}

int nm_force_send_buffer(int fd, int size)
{
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) == 0)
		return 0;
	return setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
}

int nm_force_receive_buffer(int fd, int size)
{
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) == 0)
		return 0;
	return setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
}

ssize_t nm_send_descriptors(int fd, const void *bytes, size_t count, const int *fds, int fd_count, int is_blocking)
{
	struct iovec part = { .iov_base = (void *)bytes, .iov_len = count };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };
	union control control;

	if (fd_count > MESSAGE_DESCRIPTORS) {
		errno = EINVAL;
		return -1;
	}
	if (fd_count > 0) {
		size_t size = (size_t)fd_count * sizeof(int);

		memset(&control, 0, sizeof(control));
		message.msg_control = &control;
		message.msg_controllen = CMSG_SPACE(size);
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(size);
		memcpy(CMSG_DATA(&control.header), fds, size);
	}
	return sendmsg(fd, &message, MSG_NOSIGNAL | (is_blocking ? 0 : MSG_DONTWAIT));
}

static ssize_t receive(int fd, void *bytes, size_t count, int *fds, int *fd_count, int flags)
{
	struct iovec part = { .iov_base = bytes, .iov_len = count };
	union control control;
	struct msghdr message = {
		.msg_iov = &part, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof(control)
	};
	struct cmsghdr *header;
	ssize_t received;

	*fd_count = 0;
	received = recvmsg(fd, &message, MSG_CMSG_CLOEXEC | flags);
	if (received < 0)
		return -1;
	for (header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
		size_t size;

		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
			continue;
		size = header->cmsg_len - CMSG_LEN(0);
		if (*fd_count + (int)(size / sizeof(int)) > MESSAGE_DESCRIPTORS)
			continue;
		memcpy(fds + *fd_count, CMSG_DATA(header), size);
		*fd_count += (int)(size / sizeof(int));
	}
	if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) {
		for (int index = 0; index < *fd_count; index++)
			close(fds[index]);
		*fd_count = 0;
		errno = EMSGSIZE;
		return -1;
	}
	return received;
}

ssize_t nm_receive_descriptors(int fd, void *bytes, size_t count, int *fds, int *fd_count, int is_blocking)
{
	return receive(fd, bytes, count, fds, fd_count, is_blocking ? 0 : MSG_DONTWAIT);
}

int nm_peek_again(int fd)
{
	int offset = 0;

	return setsockopt(fd, SOL_SOCKET, SO_PEEK_OFF, &offset, sizeof(offset));
}

ssize_t nm_peek_descriptors(int fd, void *bytes, size_t count, int *fds, int *fd_count)
{
	return receive(fd, bytes, count, fds, fd_count, MSG_DONTWAIT | MSG_PEEK);
}

int nm_memory_file(const char *name) { return memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING); }

int nm_seal(int fd) { return fcntl(fd, F_ADD_SEALS, ALL_SEALS); }

int nm_is_sealed(int fd)
{
	int seals = fcntl(fd, F_GET_SEALS);
	return seals >= 0 && (seals & ALL_SEALS) == ALL_SEALS;
}

int64_t nm_file_size(int fd)
{
	struct stat status;

	if (fstat(fd, &status) < 0)
		return -1;
	if (!S_ISREG(status.st_mode)) {
		errno = EINVAL;
		return -1;
	}
	return status.st_size;
}

int nm_set_close_on_exec(int fd, int is_set) { return fcntl(fd, F_SETFD, is_set ? FD_CLOEXEC : 0); }

int nm_execute(const char *path, char *const *arguments, char *const *environment)
{
	sigset_t none;

	for (int number = 1; number < NSIG; number++)
		signal(number, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	return execve(path, arguments, environment);
}
