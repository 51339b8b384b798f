// SPDX-License-Identifier: Apache-2.0
//
// Socket diagnostics (sock_diag(7)): the TCP sockets of a network namespace, as `ss` reads them. As in cmeshlinux.h,
// every function keeps the contract of the call it wraps; addresses are sixteen bytes in network order, IPv4 as
// ::ffff:a.b.c.d, ports are in host order.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct nm_diag_end {
	uint8_t ip[16];
	uint16_t port;
};

struct nm_diag_socket {
	/// AF_INET or AF_INET6 of the socket itself, whatever its addresses look like.
	uint8_t family;
	/// TCP_ESTABLISHED and its like (netinet/tcp.h).
	uint8_t state;
	struct nm_diag_end local, remote;
	uint32_t interface;
	/// 0 when no file holds the socket any more.
	uint32_t inode;
	uint64_t cookie;
	/// 0 before Linux 5.9 and for what has left its cgroup (TIME_WAIT).
	uint64_t cgroup;
	/// Not read by the application; of a listener: not accepted.
	uint32_t unread;
	/// Not acknowledged by the peer; of a listener: the most that may wait to be accepted.
	uint32_t unacknowledged;
	/// From here on only when they were asked for: since the connection began, payload.
	uint64_t bytes_sent, bytes_acknowledged, bytes_received;
	/// Microseconds.
	uint32_t smoothed_rtt, least_rtt;
};

/// A NETLINK_SOCK_DIAG socket of the calling thread's network namespace.
int nm_diag_open(void);
/// Asks for the TCP sockets of a family (AF_INET, AF_INET6) in the states of the mask (1 << TCP_ESTABLISHED ...), those
/// of one cgroup unless it is 0.
int nm_diag_ask(int fd, int family, uint32_t states, int with_figures, uint64_t cgroup);
/// Waits for the next part of the answer and writes at most `capacity` sockets, which have to be NM_DIAG_PART at least.
/// `done` becomes 1 with the last part. Returns how many.
ssize_t nm_diag_receive(int fd, struct nm_diag_socket *sockets, size_t capacity, int *done);
/// No part of an answer holds more.
#define NM_DIAG_PART 1024
/// SOCK_DESTROY: ends one socket, which must still be the one with this cookie; its application reads ECONNABORTED and
/// the other end gets a reset. EOPNOTSUPP: the kernel lacks CONFIG_INET_DIAG_DESTROY. ENOENT: gone already.
int nm_diag_destroy(int fd, const struct nm_diag_socket *socket);
