// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "cmeshlinux_kernel.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/vfs.h>

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

const int64_t nm_cgroup2_magic = CGROUP2_SUPER_MAGIC;
const int64_t nm_bpffs_magic = BPF_FS_MAGIC;

int nm_netns_cookie(int socket_fd, uint64_t *cookie) {
    socklen_t size = sizeof(*cookie);
    return getsockopt(socket_fd, SOL_SOCKET, SO_NETNS_COOKIE, cookie, &size);
}

int64_t nm_filesystem_magic(const char *path) {
    struct statfs info;
    return statfs(path, &info) == 0 ? (int64_t)info.f_type : -1;
}

int nm_open_cgroup_id(int mount_fd, uint64_t id) {
    // FILEID_KERNFS: the handle of a kernfs node is its 64-bit id.
    union {
        struct file_handle handle;
        char space[sizeof(struct file_handle) + sizeof(uint64_t)];
    } file = {.handle = {.handle_bytes = sizeof(id), .handle_type = 0xfe}};
    memcpy(file.handle.f_handle, &id, sizeof(id));
    return open_by_handle_at(mount_fd, &file.handle, O_PATH | O_CLOEXEC);
}

int nm_set_ulp_tls(int fd) { return setsockopt(fd, IPPROTO_TCP, TCP_ULP, "tls", 3); }
