// SPDX-License-Identifier: Apache-2.0
//
// What Swift cannot import from the C library: GNU extensions and socket address casts. Every function keeps the
// contract of the call it wraps (-1 and errno); addresses and ports are in host order. _GNU_SOURCE is defined in the .c
// file only: in a header it would change the C library as other modules see it.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <sys/types.h>

/// An IP address of either family and a port. IPv4 is ::ffff:a.b.c.d (RFC 4291 2.5.5.2), which is also how a dual-stack
/// socket tells it.
struct nm_address {
	/// The first eight bytes, then the last.
	uint64_t high, low;
	/// The interface of a link-local IPv6 address, else 0.
	uint32_t scope;
	uint16_t port;
};
/// A non-blocking, close-on-exec TCP socket.
int nm_socket_tcp(int ipv6);
/// A non-blocking, close-on-exec UDP socket.
int nm_socket_udp(int ipv6);
/// recvfrom(2): one datagram, cut to `count` bytes, and its sender.
ssize_t nm_recv_from(int fd, void *buffer, size_t count, struct nm_address *sender);
/// sendto(2) with MSG_NOSIGNAL.
ssize_t nm_send_to(int fd, const void *buffer, size_t count, const struct nm_address *receiver);
/// if_nametoindex(3) in the calling thread's network namespace: 0 for no such interface.
uint32_t nm_interface_index(const char *name);
/// The socket has to be of the address's family.
int nm_bind(int fd, const struct nm_address *address);
int nm_connect(int fd, const struct nm_address *address);
/// accept4(2) with SOCK_NONBLOCK and SOCK_CLOEXEC; `address` is the peer's.
int nm_accept(int fd, struct nm_address *address);
int nm_getsockname(int fd, struct nm_address *address);
int nm_getpeername(int fd, struct nm_address *address);
/// setsockopt(2) with an int value.
int nm_setsockopt_int(int fd, int level, int option, int value);
/// The socket's pending error (SO_ERROR), or -1.
int nm_socket_error(int fd);
/// What TCP knows of a connection's path (TCP_INFO): times in microseconds, counts since the connection began.
struct nm_tcp_info {
	uint32_t smoothed_rtt;
	/// The least of some minutes.
	uint32_t least_rtt;
	uint32_t retransmitted_segments;
	uint32_t sent_segments;
};
/// 0, or -1 with errno.
int nm_tcp_info(int fd, struct nm_tcp_info *info);
/// SO_LINGER with zero seconds, or not at all: the last close(2) then sends RST and drops what was not sent.
int nm_set_reset_on_close(int fd, int resets);

/// The level and name of each option used with nm_setsockopt_int.
extern const int nm_sol_socket, nm_so_reuseaddr, nm_so_reuseport, nm_so_keepalive, nm_so_sndbuf, nm_so_rcvbuf;
extern const int nm_ipproto_ipv6, nm_ipv6_v6only;
extern const int nm_ipproto_tcp, nm_tcp_nodelay, nm_tcp_keepidle, nm_tcp_keepintvl, nm_tcp_keepcnt;
extern const int nm_tcp_user_timeout, nm_tcp_quickack, nm_tcp_notsent_lowat;

/// splice(2) with SPLICE_F_MOVE | SPLICE_F_NONBLOCK and no offsets. Never SPLICE_F_MORE: it delays small messages.
ssize_t nm_splice(int input, int output, size_t count);
/// pipe2(2) with O_NONBLOCK | O_CLOEXEC.
int nm_pipe2(int fds[2]);
/// F_SETPIPE_SZ: the new size or -1.
int nm_set_pipe_size(int fd, int size);
ssize_t nm_recv(int fd, void *buffer, size_t count);
/// recv(2) with MSG_PEEK.
ssize_t nm_recv_peek(int fd, void *buffer, size_t count);
/// recv(2) with MSG_TRUNC: drops up to `count` bytes of a TCP stream without copying them.
ssize_t nm_recv_discard(int fd, size_t count);
/// send(2) with MSG_NOSIGNAL.
ssize_t nm_send(int fd, const void *buffer, size_t count);
/// sendmsg(2) with MSG_NOSIGNAL. `vector` points to struct iovec; the type is not named here, or Swift would take
/// this module for its home.
ssize_t nm_send_vector(int fd, const void *vector, int count);
/// readv(2); `vector` as for nm_send_vector.
ssize_t nm_read_vector(int fd, const void *vector, int count);

int nm_epoll_create(void);
int nm_epoll_control(int epoll, int operation, int fd, uint32_t events, uint64_t data);
int nm_eventfd(void);
/// socketpair(2): AF_UNIX stream, non-blocking, close-on-exec.
int nm_socketpair(int fds[2]);

/// The inode number that names the namespace open at `fd`, 0 on failure.
uint64_t nm_namespace_inode(int fd);
/// Moves the calling thread into the network namespace open at `fd`, whose inode is `inode`; no system call when the
/// thread is there already. Every change of a thread's namespace has to go through here.
int nm_enter_network(int fd, uint64_t inode);
int nm_unshare_network(void);
/// Opens with O_RDONLY | O_CLOEXEC.
int nm_open_read(const char *path);
int nm_set_thread_name(const char *name);
/// Soft limit of open descriptors, after raising it to the hard limit.
int64_t nm_raise_descriptor_limit(void);
/// malloc_trim(3): gives free memory inside the heap back to the system.
void nm_trim_heap(void);
/// Nanoseconds of CLOCK_MONOTONIC.
uint64_t nm_monotonic_clock(void);
/// Nanoseconds of CLOCK_REALTIME.
uint64_t nm_wall_clock(void);
/// The CPU time of the calling thread in nanoseconds.
uint64_t nm_thread_cpu_clock(void);
