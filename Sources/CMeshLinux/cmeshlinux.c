// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "cmeshlinux.h"
#include "faults_hook.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

const int nm_sol_socket = SOL_SOCKET, nm_so_reuseaddr = SO_REUSEADDR, nm_so_reuseport = SO_REUSEPORT,
	  nm_so_keepalive = SO_KEEPALIVE, nm_so_sndbuf = SO_SNDBUF, nm_so_rcvbuf = SO_RCVBUF;
const int nm_ipproto_ipv6 = IPPROTO_IPV6, nm_ipv6_v6only = IPV6_V6ONLY;
const int nm_ipproto_tcp = IPPROTO_TCP, nm_tcp_nodelay = TCP_NODELAY, nm_tcp_keepidle = TCP_KEEPIDLE,
	  nm_tcp_keepintvl = TCP_KEEPINTVL, nm_tcp_keepcnt = TCP_KEEPCNT;
const int nm_tcp_user_timeout = TCP_USER_TIMEOUT, nm_tcp_quickack = TCP_QUICKACK,
	  nm_tcp_notsent_lowat = TCP_NOTSENT_LOWAT;

/* Half of an IPv6 address between host and network order. */
static uint64_t swap64(uint64_t value) { return htonl(1) == 1 ? value : __builtin_bswap64(value); }

static int is_ipv4(const struct nm_address *address)
{
	return address->high == 0 && address->low >> 32 == 0xffff;
}

static socklen_t pack(const struct nm_address *address, struct sockaddr_storage *storage)
{
	struct sockaddr_in *in = (struct sockaddr_in *)storage;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)storage;
	uint64_t halves[2] = { swap64(address->high), swap64(address->low) };

	memset(storage, 0, sizeof(*storage));
	if (is_ipv4(address)) {
		in->sin_family = AF_INET;
		in->sin_port = htons(address->port);
		in->sin_addr.s_addr = htonl((uint32_t)address->low);
		return sizeof(*in);
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(address->port);
	in6->sin6_scope_id = address->scope;
	memcpy(&in6->sin6_addr, halves, sizeof(halves));
	return sizeof(*in6);
}

static int unpack(const struct sockaddr_storage *storage, struct nm_address *address)
{
	const struct sockaddr_in *in = (const struct sockaddr_in *)storage;
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)storage;
	uint64_t halves[2];

	switch (storage->ss_family) {
	case AF_INET:
		address->high = 0;
		address->low = (uint64_t)0xffff << 32 | ntohl(in->sin_addr.s_addr);
		address->scope = 0;
		address->port = ntohs(in->sin_port);
		return 0;
	case AF_INET6:
		memcpy(halves, &in6->sin6_addr, sizeof(halves));
		address->high = swap64(halves[0]);
		address->low = swap64(halves[1]);
		address->scope = in6->sin6_scope_id;
		address->port = ntohs(in6->sin6_port);
		return 0;
	}
	errno = EAFNOSUPPORT;
	return -1;
}

int nm_socket_tcp(int ipv6)
{
	NM_FAULT(SOCKET, -1);
	return socket(ipv6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_TCP);
}

int nm_socket_udp(int ipv6)
{
	NM_FAULT(SOCKET, -1);
	return socket(ipv6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);
}

ssize_t nm_recv_from(int fd, void *buffer, size_t count, struct nm_address *sender)
{
	struct sockaddr_storage storage = { 0 };
	socklen_t length = sizeof(storage);
	ssize_t result = recvfrom(fd, buffer, count, 0, (struct sockaddr *)&storage, &length);

	if (result >= 0 && unpack(&storage, sender) < 0)
		*sender = (struct nm_address){ 0 };
	return result;
}

ssize_t nm_send_to(int fd, const void *buffer, size_t count, const struct nm_address *receiver)
{
	struct sockaddr_storage storage;
	socklen_t length = pack(receiver, &storage);

	return sendto(fd, buffer, count, MSG_NOSIGNAL, (struct sockaddr *)&storage, length);
}

uint32_t nm_interface_index(const char *name) { return if_nametoindex(name); }

int nm_bind(int fd, const struct nm_address *address)
{
	struct sockaddr_storage storage;
	socklen_t length = pack(address, &storage);

	return bind(fd, (struct sockaddr *)&storage, length);
}

int nm_connect(int fd, const struct nm_address *address)
{
	struct sockaddr_storage storage;
	socklen_t length = pack(address, &storage);

	NM_FAULT(CONNECT, fd);
	return connect(fd, (struct sockaddr *)&storage, length);
}

int nm_accept(int fd, struct nm_address *address)
{
	struct sockaddr_storage storage = { 0 };
	socklen_t length = sizeof(storage);
	int accepted;

	NM_FAULT(ACCEPT, fd);
	accepted = accept4(fd, (struct sockaddr *)&storage, &length, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (accepted >= 0 && unpack(&storage, address) < 0)
		*address = (struct nm_address){ 0 };
	return accepted;
}

int nm_getsockname(int fd, struct nm_address *address)
{
	struct sockaddr_storage storage = { 0 };
	socklen_t length = sizeof(storage);

	if (getsockname(fd, (struct sockaddr *)&storage, &length) < 0)
		return -1;
	return unpack(&storage, address);
}

int nm_getpeername(int fd, struct nm_address *address)
{
	struct sockaddr_storage storage = { 0 };
	socklen_t length = sizeof(storage);

	if (getpeername(fd, (struct sockaddr *)&storage, &length) < 0)
		return -1;
	return unpack(&storage, address);
}

int nm_setsockopt_int(int fd, int level, int option, int value)
{
	NM_FAULT(SETSOCKOPT, fd);
	return setsockopt(fd, level, option, &value, sizeof(value));
}

int nm_socket_error(int fd)
{
	int value = 0;
	socklen_t length = sizeof(value);
	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &value, &length) < 0 ? -1 : value;
}

int nm_set_reset_on_close(int fd, int resets)
{
	struct linger linger = { .l_onoff = resets, .l_linger = 0 };
	return setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
}

ssize_t nm_splice(int input, int output, size_t count)
{
#ifdef NM_FAULTS
	if (nm_fault(nm_fault_is_pipe(input) ? NM_CALL_SPLICE_OUT : NM_CALL_SPLICE_IN, input, output, &count))
		return -1;
#endif
	return splice(input, NULL, output, NULL, count, SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
}

int nm_pipe2(int fds[2])
{
	NM_FAULT(PIPE, -1);
	return pipe2(fds, O_NONBLOCK | O_CLOEXEC);
}

int nm_set_pipe_size(int fd, int size)
{
	NM_FAULT(PIPE_SIZE, fd);
	return fcntl(fd, F_SETPIPE_SZ, size);
}

ssize_t nm_recv(int fd, void *buffer, size_t count)
{
	NM_FAULT_COUNT(RECV, fd, count);
	return recv(fd, buffer, count, 0);
}

ssize_t nm_recv_peek(int fd, void *buffer, size_t count)
{
	NM_FAULT_COUNT(PEEK, fd, count);
	return recv(fd, buffer, count, MSG_PEEK);
}

ssize_t nm_recv_discard(int fd, size_t count)
{
	NM_FAULT_COUNT(DISCARD, fd, count);
	return recv(fd, NULL, count, MSG_TRUNC);
}

ssize_t nm_send(int fd, const void *buffer, size_t count)
{
	NM_FAULT_COUNT(SEND, fd, count);
	return send(fd, buffer, count, MSG_NOSIGNAL);
}

#ifdef NM_FAULTS
/* Lowers `limit` if the script says so, and makes `*vector` the ranges up to there. */
static int fault_vector(int call, int fd, const void **vector, int *count, struct iovec *only)
{
	size_t limit = ((const struct iovec *)*vector)->iov_len;
	size_t whole = limit;

	if (nm_fault(call, fd, -1, &limit))
		return -1;
	if (limit < whole) {
		*only = (struct iovec){ .iov_base = ((const struct iovec *)*vector)->iov_base, .iov_len = limit };
		*vector = only;
		*count = 1;
	}
	return 0;
}
#endif

ssize_t nm_send_vector(int fd, const void *vector, int count)
{
#ifdef NM_FAULTS
	struct iovec only;
	if (fault_vector(NM_CALL_SENDMSG, fd, &vector, &count, &only) < 0)
		return -1;
#endif
	struct msghdr message = { .msg_iov = (struct iovec *)vector, .msg_iovlen = (size_t)count };
	return sendmsg(fd, &message, MSG_NOSIGNAL);
}

ssize_t nm_read_vector(int fd, const void *vector, int count)
{
#ifdef NM_FAULTS
	struct iovec only;
	if (fault_vector(NM_CALL_READV, fd, &vector, &count, &only) < 0)
		return -1;
#endif
	return readv(fd, vector, count);
}

int nm_epoll_create(void) { return epoll_create1(EPOLL_CLOEXEC); }

int nm_epoll_control(int epoll, int operation, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event event = { .events = events, .data = { .u64 = data } };

	NM_FAULT(EPOLL_CTL, fd);
#ifdef NM_FAULTS
	nm_fault_watched(epoll, operation, fd, events, data);
#endif
	return epoll_ctl(epoll, operation, fd, &event);
}

int nm_eventfd(void)
{
	NM_FAULT(EVENTFD, -1);
	return eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
}

int nm_socketpair(int fds[2])
{
	return socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds);
}

uint64_t nm_namespace_inode(int fd)
{
	struct stat status;
	return fstat(fd, &status) < 0 ? 0 : (uint64_t)status.st_ino;
}

/* 0: not known yet. */
static _Thread_local uint64_t current_network;

int nm_enter_network(int fd, uint64_t inode)
{
	if (inode != 0 && current_network == inode)
		return 0;
	current_network = 0;
	if (setns(fd, CLONE_NEWNET) < 0)
		return -1;
	current_network = inode;
	return 0;
}

int nm_unshare_network(void)
{
	current_network = 0;
	return unshare(CLONE_NEWNET);
}

int nm_open_read(const char *path) { return open(path, O_RDONLY | O_CLOEXEC); }

int nm_set_thread_name(const char *name)
{
	char limited[16] = { 0 };

	strncpy(limited, name, sizeof(limited) - 1);
	return pthread_setname_np(pthread_self(), limited);
}

int64_t nm_raise_descriptor_limit(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return -1;
	if (limit.rlim_cur < limit.rlim_max) {
		struct rlimit raised = { .rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max };
		if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
			limit = raised;
	}
	return limit.rlim_cur > INT32_MAX ? INT32_MAX : (int64_t)limit.rlim_cur;
}

void nm_trim_heap(void) { malloc_trim(0); }

static uint64_t clock_value(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t nm_monotonic_clock(void) { return clock_value(CLOCK_MONOTONIC); }

uint64_t nm_wall_clock(void) { return clock_value(CLOCK_REALTIME); }

uint64_t nm_thread_cpu_clock(void) { return clock_value(CLOCK_THREAD_CPUTIME_ID); }
