// SPDX-License-Identifier: Apache-2.0
//
// Descriptors that pass from one process to the next: messages with SCM_RIGHTS, sealed memory, Unix sockets. As in
// cmeshlinux.h, every function keeps the contract of the call it wraps.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// How many descriptors one message may carry (SCM_MAX_FD).
extern const int nm_message_descriptors;

/// A close-on-exec AF_UNIX socket: datagrams, or a connection with message boundaries (SOCK_SEQPACKET).
int nm_unix_datagram(void);
int nm_unix_packets(void);
/// Two connected ones of the latter kind, non-blocking.
int nm_unix_packet_pair(int fds[2]);
/// `name` has `length` bytes; with `is_abstract` it stands in the abstract name space, otherwise it is a path.
/// ENAMETOOLONG when it does not fit.
int nm_unix_bind(int fd, const char *name, size_t length, int is_abstract);
int nm_unix_connect(int fd, const char *name, size_t length, int is_abstract);
/// accept4(2) with SOCK_CLOEXEC.
int nm_unix_accept(int fd);
/// SO_PEERCRED.
int nm_peer_credentials(int fd, int32_t *pid, uint32_t *uid);
/// SO_SNDBUFFORCE, and SO_SNDBUF where that is not allowed.
int nm_force_send_buffer(int fd, int size);
int nm_force_receive_buffer(int fd, int size);

/// sendmsg(2) with MSG_NOSIGNAL; `flags` are added.
ssize_t nm_send_descriptors(int fd, const void *bytes, size_t count, const int *fds, int fd_count, int is_blocking);
/// recvmsg(2) with MSG_CMSG_CLOEXEC. `fds` has room for nm_message_descriptors, of which `*fd_count` are received.
/// EMSGSIZE, with everything received closed again, when the message or its descriptors were cut.
ssize_t nm_receive_descriptors(int fd, void *bytes, size_t count, int *fds, int *fd_count, int is_blocking);
/// SO_PEEK_OFF at the begin: the next nm_peek_descriptors is given the first message again.
int nm_peek_again(int fd);
/// nm_receive_descriptors with MSG_PEEK: the message stays, and the next call is given the one behind it. Never waits.
ssize_t nm_peek_descriptors(int fd, void *bytes, size_t count, int *fds, int *fd_count);

/// memfd_create(2), close-on-exec, that can be sealed.
int nm_memory_file(const char *name);
/// Seals it against every change, and against further seals.
int nm_seal(int fd);
/// Whether it is sealed so.
int nm_is_sealed(int fd);
/// The size of a regular file, -1 for anything else.
int64_t nm_file_size(int fd);
/// Sets or clears close-on-exec.
int nm_set_close_on_exec(int fd, int is_set);
/// execve(2) with every signal as a new program expects it.
int nm_execute(const char *path, char *const *arguments, char *const *environment);
