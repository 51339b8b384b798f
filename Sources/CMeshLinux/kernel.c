// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "cmeshlinux_kernel.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <net/if.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

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

const uint32_t nm_inotify_directory = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_ONLYDIR;
const uint32_t nm_inotify_file = IN_MODIFY | IN_DELETE_SELF;
const uint32_t nm_inotify_overflow = IN_Q_OVERFLOW;
const uint32_t nm_inotify_gone = IN_IGNORED | IN_DELETE_SELF;

int nm_inotify(void) { return inotify_init1(IN_NONBLOCK | IN_CLOEXEC); }

int nm_inotify_watch(int fd, const char *path, uint32_t mask) { return inotify_add_watch(fd, path, mask); }

int nm_inotify_unwatch(int fd, int watch) { return inotify_rm_watch(fd, watch); }

const int nm_sock_nonblock_cloexec = SOCK_NONBLOCK | SOCK_CLOEXEC;

int nm_connect_bytes(int fd, const void *address, size_t size, uint16_t port) {
    struct sockaddr_in in4 = {.sin_family = AF_INET, .sin_port = htons(port)};
    struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
    if (size == sizeof(in4.sin_addr)) {
        memcpy(&in4.sin_addr, address, size);
        return connect(fd, (struct sockaddr *)&in4, sizeof(in4));
    }
    if (size != sizeof(in6.sin6_addr)) {
        errno = EINVAL;
        return -1;
    }
    memcpy(&in6.sin6_addr, address, size);
    return connect(fd, (struct sockaddr *)&in6, sizeof(in6));
}

int nm_raise_loopback(void) {
    struct ifreq request = {.ifr_name = "lo"};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd < 0) return -1;
    int result = ioctl(fd, SIOCGIFFLAGS, &request);
    if (result == 0) {
        request.ifr_flags |= IFF_UP;
        result = ioctl(fd, SIOCSIFFLAGS, &request);
    }
    int code = errno;
    close(fd);
    errno = code;
    return result;
}

int nm_spawn(const char *path, char *const *arguments, char *const *environment, int output, int quiet) {
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t signals;
    pid_t pid = -1;
    int code = posix_spawn_file_actions_init(&actions);
    if (code == 0) {
        code = posix_spawnattr_init(&attributes);
        if (code == 0) {
            code = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
            if (code == 0)
                code = output >= 0 ? posix_spawn_file_actions_adddup2(&actions, output, 1)
                                   : posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
            if (code == 0 && quiet) code = posix_spawn_file_actions_addopen(&actions, 2, "/dev/null", O_WRONLY, 0);
            // What this process ignores or blocks is no business of the child.
            sigemptyset(&signals);
            if (code == 0) code = posix_spawnattr_setsigmask(&attributes, &signals);
            sigaddset(&signals, SIGPIPE);
            if (code == 0) code = posix_spawnattr_setsigdefault(&attributes, &signals);
            if (code == 0)
                code = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
            if (code == 0) code = posix_spawn(&pid, path, &actions, &attributes, arguments, environment);
            posix_spawnattr_destroy(&attributes);
        }
        posix_spawn_file_actions_destroy(&actions);
    }
    if (code != 0) {
        errno = code;
        return -1;
    }
    return pid;
}

int nm_wait(int pid, int *status) {
    pid_t ended;
    do
        ended = waitpid(pid, status, WNOHANG);
    while (ended == -1 && errno == EINTR);
    return ended == -1 ? -1 : ended != 0;
}

int nm_exit_code(int status) { return WIFEXITED(status) ? WEXITSTATUS(status) : -1 - WTERMSIG(status); }
