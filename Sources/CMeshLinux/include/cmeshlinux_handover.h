// SPDX-License-Identifier: Apache-2.0
//
// What a process asks of descriptors that another one has given it. As in cmeshlinux.h, every function keeps the contract
// of the call it wraps.
#pragma once
#include <stddef.h>
#include <stdint.h>

/// Bytes that can be read at once (FIONREAD).
int nm_unread_bytes(int fd);
/// SO_ACCEPTCONN: 1 for a listening socket.
int nm_is_listening(int fd);

/// What passed a TCP socket, FIN not counted. Only differences have a meaning: both numbers begin anywhere.
struct nm_stream_counts {
	/// Bytes that were taken out of the socket, and bytes that were given to it.
	uint64_t read, written;
	/// FIN was given to TCP; the connection is not closed.
	uint8_t end_sent, is_open;
};

/// Exact, if nobody reads from the socket or writes to it meanwhile (SIOCINQ, SIOCOUTQ, TCP_INFO: Linux 4.1). EAGAIN:
/// bytes come and go too fast, or urgent data hides how many wait.
int nm_stream_counts(int fd, struct nm_stream_counts *counts);

/// F_DUPFD_CLOEXEC.
int nm_duplicate(int fd);
/// connect(2) to AF_UNSPEC: ends a TCP connection with RST, whoever else holds the socket.
int nm_disconnect(int fd);

/// A descriptor of the process at the other end of a Unix socket, which can be read once it has ended: SO_PEERPIDFD, before
/// Linux 6.5 pidfd_open(2) of what SO_PEERCRED says. ESRCH: it has ended.
int nm_peer_process(int fd);
/// pidfd_send_signal(2) with SIGKILL.
int nm_kill_process(int process);

/// Memory that other processes can have too, `size` bytes of zeros, mapped for reading and writing; MAP_FAILED on error.
void *nm_shared_memory(const char *name, size_t size, int *fd);
/// A store that no later one overtakes: a process that is killed leaves behind every store it made, in this order.
static inline void nm_store_release(uint64_t *word, uint64_t value)
{
	__atomic_store_n(word, value, __ATOMIC_RELEASE);
}
