// SPDX-License-Identifier: Apache-2.0
//
// Namespaces, cgroups and file systems: what Swift cannot import from the C library. As in cmeshlinux.h, every function
// keeps the contract of the call it wraps.
#pragma once
#include <stdint.h>

/// SO_NETNS_COOKIE: the kernel's number for the network namespace of a socket.
int nm_netns_cookie(int socket_fd, uint64_t *cookie);
/// The magic number of the file system that holds `path` (statfs(2)), -1 on error.
int64_t nm_filesystem_magic(const char *path);
/// Opens the cgroup directory with this id, O_PATH; `mount_fd` is any descriptor inside the cgroup v2 mount.
int nm_open_cgroup_id(int mount_fd, uint64_t id);
/// TCP_ULP "tls" on a socket.
int nm_set_ulp_tls(int fd);

extern const int64_t nm_cgroup2_magic, nm_bpffs_magic;
