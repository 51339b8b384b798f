// SPDX-License-Identifier: Apache-2.0
//
// Namespaces, cgroups and file systems: what Swift cannot import from the C library. As in cmeshlinux.h, every function
// keeps the contract of the call it wraps.
#pragma once
#include <stddef.h>
#include <stdint.h>

/// SO_NETNS_COOKIE: the kernel's number for the network namespace of a socket.
int nm_netns_cookie(int socket_fd, uint64_t *cookie);
/// The magic number of the file system that holds `path` (statfs(2)), -1 on error.
int64_t nm_filesystem_magic(const char *path);
/// Opens the cgroup directory with this id, O_PATH; `mount_fd` is any descriptor inside the cgroup v2 mount.
int nm_open_cgroup_id(int mount_fd, uint64_t id);
/// TCP_ULP "tls" on a socket.
int nm_set_ulp_tls(int fd);

/// inotify_init1(2), non-blocking and close-on-exec.
int nm_inotify(void);
/// inotify_add_watch(2), inotify_rm_watch(2).
int nm_inotify_watch(int fd, const char *path, uint32_t mask);
int nm_inotify_unwatch(int fd, int watch);
/// What a directory, or a file, is watched for; in an event: the queue overflowed, and the watch has ended.
extern const uint32_t nm_inotify_directory, nm_inotify_file, nm_inotify_overflow, nm_inotify_gone;

/// SOCK_NONBLOCK | SOCK_CLOEXEC.
extern const int nm_sock_nonblock_cloexec;
/// connect(2) to an address of four or sixteen bytes in network order and a port in host order.
int nm_connect_bytes(int fd, const void *address, size_t size, uint16_t port);
/// Sets IFF_UP on `lo` in the calling thread's network namespace.
int nm_raise_loopback(void);

/// posix_spawn(3) of `path` with this argument vector and environment, both ended by NULL: standard input and, with
/// `quiet`, standard error from and to /dev/null, standard output to `output` (-1: /dev/null); no other descriptor is
/// inherited that is not close-on-exec. Returns the process id, or -1 with errno.
int nm_spawn(const char *path, char *const *arguments, char *const *environment, int output, int quiet);
/// waitpid(2): 1 and the wait status when it has ended, 0 when it runs, -1 with errno.
int nm_wait(int pid, int *status);
/// Exit code of a wait status, or -1 - signal.
int nm_exit_code(int status);

extern const int64_t nm_cgroup2_magic, nm_bpffs_magic;
