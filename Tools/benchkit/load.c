// SPDX-License-Identifier: Apache-2.0
// The benchmark's load: a server that echoes, and clients that measure. Each client prints one line of JSON.
//
//   load echo PORT                            echo what arrives, on every connection, until killed
//   load verify ADDRESS PORT BYTES            send a pattern, check that it comes back whole, then the end of stream
//   load ping ADDRESS PORT CONNECTIONS SIZE SECONDS
//                                             one request of SIZE bytes outstanding on each connection
//   load short ADDRESS PORT PARALLEL SIZE SECONDS
//                                             connect, send SIZE bytes, receive them, close; over and over
//   load idle ADDRESS PORT COUNT...           open COUNT connections, use each once, tell; hold them until a line on stdin
//
// Times are of the monotonic clock; percentiles are exact, over all samples after a short warm-up.

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum {
    BACKLOG = 16384,
    BATCH = 256,
    BUFFER = 64 * 1024,
    OPENING = 64, // connections that `idle` opens at a time
};

static const uint64_t SECOND = 1000000000, WARM_UP = 200000000, PATIENCE = 10000000000;

static void fail(const char *what)
{
    fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void misused(void)
{
    fprintf(stderr, "usage: load echo|verify|ping|short|idle ...; see the head of load.c\n");
    exit(2);
}

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static void *allocate(size_t count, size_t size)
{
    void *memory = calloc(count, size);
    if (!memory)
        fail("calloc");
    return memory;
}

// Numbers on the command line: from 1 to `most`.
static size_t number(const char *text, size_t most)
{
    char *end;
    unsigned long value = strtoul(text, &end, 10);
    if (*end || value < 1 || value > most)
        misused();
    return value;
}

static uint64_t duration(const char *text)
{
    double seconds = atof(text);
    if (!(seconds > 0 && seconds < 3600))
        misused();
    return (uint64_t)(seconds * (double)SECOND);
}

// Samples

// Nanoseconds, at most 4.29 s.
static struct {
    uint32_t *values;
    size_t count, capacity;
} samples;

// Also what was done before and after the measured time: the proxies had the work of it.
static uint64_t completed;

static void record(uint64_t nanoseconds)
{
    if (samples.count == samples.capacity) {
        samples.capacity = samples.capacity ? 2 * samples.capacity : 1 << 18;
        samples.values = realloc(samples.values, samples.capacity * sizeof *samples.values);
        if (!samples.values)
            fail("realloc");
    }
    samples.values[samples.count++] = nanoseconds > UINT32_MAX ? UINT32_MAX : (uint32_t)nanoseconds;
}

static int ascending(const void *left, const void *right)
{
    uint32_t a = *(const uint32_t *)left, b = *(const uint32_t *)right;
    return (a > b) - (a < b);
}

// Microseconds at or below which `share` of the samples are.
static double percentile(double share)
{
    if (!samples.count)
        return 0;
    size_t index = (size_t)(share * (double)samples.count);
    if (index >= samples.count)
        index = samples.count - 1;
    return samples.values[index] / 1000.0;
}

static void report(uint64_t elapsed, uint64_t errors)
{
    double seconds = (double)elapsed / (double)SECOND;
    qsort(samples.values, samples.count, sizeof *samples.values, ascending);
    printf("{\"count\": %zu, \"total\": %llu, \"seconds\": %.4f, \"rate\": %.2f, \"p50\": %.3f, \"p90\": %.3f, \"p99\": %.3f, "
           "\"p999\": %.3f, \"most\": %.3f, \"errors\": %llu}\n",
           samples.count, (unsigned long long)completed, seconds, (double)samples.count / seconds, percentile(0.5), percentile(0.9), percentile(0.99),
           percentile(0.999), percentile(1), (unsigned long long)errors);
}

// Sockets

static struct sockaddr_in target;

static void set_target(const char *address, const char *port)
{
    target.sin_family = AF_INET;
    target.sin_port = htons((uint16_t)number(port, 65535));
    if (inet_pton(AF_INET, address, &target.sin_addr) != 1)
        misused();
}

static void no_delay(int socket)
{
    int on = 1;
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static int make_epoll(void)
{
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (epoll < 0)
        fail("epoll_create1");
    return epoll;
}

static void watch(int epoll, int operation, int socket, uint32_t events, uint32_t tag)
{
    struct epoll_event event = {.events = events, .data.u32 = tag};
    if (epoll_ctl(epoll, operation, socket, &event))
        fail("epoll_ctl");
}

// Blocking, with a limit to every wait.
static int connect_blocking(void)
{
    int socket_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct timeval limit = {.tv_sec = (time_t)(PATIENCE / SECOND)};
    if (socket_ < 0)
        fail("socket");
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(socket_, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (connect(socket_, (struct sockaddr *)&target, sizeof target))
        fail("connect");
    no_delay(socket_);
    return socket_;
}

static bool send_all(int socket, const char *data, size_t size)
{
    while (size) {
        ssize_t sent = send(socket, data, size, MSG_NOSIGNAL);
        if (sent <= 0)
            return false;
        data += sent;
        size -= (size_t)sent;
    }
    return true;
}

static bool receive_all(int socket, char *data, size_t size)
{
    while (size) {
        ssize_t got = recv(socket, data, size, 0);
        if (got <= 0)
            return false;
        data += got;
        size -= (size_t)got;
    }
    return true;
}

// The server

// Answers what has arrived. False at the end of the stream.
static bool answer(int socket)
{
    static char buffer[BUFFER];
    ssize_t got = recv(socket, buffer, sizeof buffer, MSG_DONTWAIT);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR;
    for (ssize_t sent = 0; sent < got;) {
        ssize_t count = send(socket, buffer + sent, (size_t)(got - sent), MSG_NOSIGNAL);
        if (count > 0) {
            sent += count;
        } else if (count < 0 && errno == EAGAIN) {
            struct pollfd room = {.fd = socket, .events = POLLOUT};
            poll(&room, 1, 1000);
        } else {
            return false;
        }
    }
    return got > 0;
}

static void echo(uint16_t port)
{
    struct sockaddr_in any = {.sin_family = AF_INET, .sin_port = htons(port)};
    int on = 1, listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), epoll = make_epoll();
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(listener, (struct sockaddr *)&any, sizeof any) || listen(listener, BACKLOG))
        fail("listen");
    watch(epoll, EPOLL_CTL_ADD, listener, EPOLLIN, (uint32_t)listener);
    for (;;) {
        struct epoll_event events[BATCH];
        int count = epoll_wait(epoll, events, BATCH, -1);
        for (int i = 0; i < count; i++) {
            int socket = (int)events[i].data.u32;
            if (socket != listener) {
                if (!answer(socket))
                    close(socket);
                continue;
            }
            while ((socket = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
                no_delay(socket);
                watch(epoll, EPOLL_CTL_ADD, socket, EPOLLIN, (uint32_t)socket);
            }
        }
    }
}

// verify

// A byte at a position of the stream: no short period, so that lost, doubled and swapped parts show.
static char pattern(size_t position)
{
    uint64_t mixed = (position >> 3) * 0x9e3779b97f4a7c15u;
    return (char)((mixed ^ mixed >> 29) >> 8 * (position & 7));
}

static void verify(size_t size)
{
    int socket = connect_blocking();
    size_t sent = 0, received = 0;
    char buffer[BUFFER];
    while (received < size) {
        struct pollfd ready = {.fd = socket, .events = POLLIN | (sent < size ? POLLOUT : 0)};
        if (poll(&ready, 1, (int)(PATIENCE / 1000000)) <= 0)
            break;
        if (ready.revents & POLLOUT) {
            size_t length = size - sent < sizeof buffer ? size - sent : sizeof buffer;
            for (size_t i = 0; i < length; i++)
                buffer[i] = pattern(sent + i);
            ssize_t count = send(socket, buffer, length, MSG_DONTWAIT | MSG_NOSIGNAL);
            if (count < 0 && errno != EAGAIN)
                break;
            sent += count > 0 ? (size_t)count : 0;
            if (sent == size)
                shutdown(socket, SHUT_WR);
        }
        if (ready.revents & (POLLIN | POLLERR | POLLHUP)) {
            ssize_t count = recv(socket, buffer, sizeof buffer, MSG_DONTWAIT);
            if (count == 0 || (count < 0 && errno != EAGAIN))
                break;
            for (ssize_t i = 0; i < count; i++, received++) {
                if (received >= size || buffer[i] != pattern(received)) {
                    fprintf(stderr, "load: byte %zu came back wrong\n", received);
                    exit(1);
                }
            }
        }
    }
    if (received != size) {
        fprintf(stderr, "load: %zu of %zu bytes came back\n", received, size);
        exit(1);
    }
    if (recv(socket, buffer, 1, 0) != 0) {
        fprintf(stderr, "load: all bytes came back, but not the end of the stream\n");
        exit(1);
    }
    printf("{\"bytes\": %zu}\n", received);
}

// ping

static void ping_one(size_t size, uint64_t length)
{
    static char request[BUFFER], response[BUFFER];
    int socket = connect_blocking();
    uint64_t errors = 0, began = now() + WARM_UP, before = now();
    memset(request, 'p', size);
    while (before < began + length) {
        if (!send_all(socket, request, size) || !receive_all(socket, response, size)) {
            errors++;
            break;
        }
        uint64_t after = now();
        completed++;
        if (before >= began)
            record(after - before);
        before = after;
    }
    report(length, errors);
}

struct pinger {
    int socket;
    size_t received;
    uint64_t sent_at;
};

static void ping_many(size_t connections, size_t size, uint64_t length)
{
    static char request[BUFFER], response[BUFFER];
    struct pinger *all = allocate(connections, sizeof *all);
    int epoll = make_epoll();
    uint64_t errors = 0;
    memset(request, 'p', size);
    for (size_t i = 0; i < connections; i++) {
        all[i].socket = connect_blocking();
        if (!send_all(all[i].socket, request, size) || !receive_all(all[i].socket, response, size))
            fail("the first answer");
        watch(epoll, EPOLL_CTL_ADD, all[i].socket, EPOLLIN, (uint32_t)i);
    }
    uint64_t began = now() + WARM_UP, time = now();
    for (size_t i = 0; i < connections; i++) {
        all[i].sent_at = now();
        errors += !send_all(all[i].socket, request, size);
    }
    while (time < began + length) {
        struct epoll_event events[BATCH];
        int count = epoll_wait(epoll, events, BATCH, 100);
        for (int i = 0; i < count; i++) {
            struct pinger *one = &all[events[i].data.u32];
            ssize_t got = recv(one->socket, response, size - one->received, MSG_DONTWAIT);
            if (got < 0 && errno == EAGAIN)
                continue;
            if (got <= 0) {
                errors++;
                watch(epoll, EPOLL_CTL_DEL, one->socket, 0, 0);
                continue;
            }
            one->received += (size_t)got;
            if (one->received < size)
                continue;
            time = now();
            completed++;
            if (one->sent_at >= began && time <= began + length)
                record(time - one->sent_at);
            one->received = 0;
            one->sent_at = time;
            errors += !send_all(one->socket, request, size);
        }
        time = now();
    }
    report(length, errors);
}

// short and idle: connections that are opened without waiting for each

struct call {
    int socket; // -1: none
    bool connected, held;
    size_t received;
    uint64_t began;
};

static char call_request[BUFFER];

static bool call_begin(struct call *call, int epoll, uint32_t tag)
{
    *call = (struct call){.socket = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), .began = now()};
    if (call->socket < 0)
        return false;
    no_delay(call->socket);
    if (connect(call->socket, (struct sockaddr *)&target, sizeof target) && errno != EINPROGRESS) {
        close(call->socket);
        call->socket = -1;
        return false;
    }
    watch(epoll, EPOLL_CTL_ADD, call->socket, EPOLLOUT, tag);
    return true;
}

static void call_end(struct call *call)
{
    close(call->socket);
    call->socket = -1;
}

// 1: all `size` bytes are back. 0: not yet. -1: failed.
static int call_step(struct call *call, int epoll, uint32_t tag, size_t size)
{
    if (!call->connected) {
        int error = 0;
        socklen_t length = sizeof error;
        getsockopt(call->socket, SOL_SOCKET, SO_ERROR, &error, &length);
        if (error || send(call->socket, call_request, size, MSG_NOSIGNAL) != (ssize_t)size)
            return -1;
        call->connected = true;
        watch(epoll, EPOLL_CTL_MOD, call->socket, EPOLLIN, tag);
        return 0;
    }
    char response[BUFFER];
    ssize_t got = recv(call->socket, response, sizeof response, 0);
    if (got < 0 && errno == EAGAIN)
        return 0;
    if (got <= 0)
        return -1;
    call->received += (size_t)got;
    return call->received >= size;
}

static void short_calls(size_t parallel, size_t size, uint64_t length)
{
    struct call *calls = allocate(parallel, sizeof *calls);
    int epoll = make_epoll();
    uint64_t errors = 0, began = now() + WARM_UP, time = now(), looked = time;
    memset(call_request, 's', size);
    for (size_t i = 0; i < parallel; i++)
        errors += !call_begin(&calls[i], epoll, (uint32_t)i);
    while (time < began + length) {
        struct epoll_event events[BATCH];
        int count = epoll_wait(epoll, events, BATCH, 50);
        for (int i = 0; i < count; i++) {
            uint32_t tag = events[i].data.u32;
            struct call *call = &calls[tag];
            int state = call->socket < 0 ? 0 : call_step(call, epoll, tag, size);
            if (!state)
                continue;
            uint64_t end = now();
            completed += state > 0;
            if (state < 0)
                errors++;
            else if (call->began >= began && end <= began + length)
                record(end - call->began);
            call_end(call);
            errors += !call_begin(call, epoll, tag);
        }
        time = now();
        if (time - looked < SECOND / 4)
            continue;
        // Calls that could not begin, and those that hang.
        looked = time;
        for (size_t i = 0; i < parallel; i++) {
            if (calls[i].socket >= 0 && time - calls[i].began < PATIENCE)
                continue;
            if (calls[i].socket >= 0) {
                errors++;
                call_end(&calls[i]);
            }
            errors += !call_begin(&calls[i], epoll, (uint32_t)i);
        }
    }
    report(length, errors);
}

static void idle(char **counts)
{
    enum { SIZE = 64 };
    size_t most = 0, begun = 0;
    for (char **count = counts; *count; count++) {
        size_t wanted = number(*count, 1000000);
        most = wanted > most ? wanted : most;
    }
    struct call *calls = allocate(most, sizeof *calls);
    int epoll = make_epoll();
    memset(call_request, 'i', SIZE);
    for (; *counts; counts++) {
        size_t wanted = number(*counts, 1000000), opening = 0;
        uint64_t errors = 0, began = now();
        while ((begun < wanted || opening) && now() - began < 60 * SECOND) {
            for (; opening < OPENING && begun < wanted; begun++) {
                if (call_begin(&calls[begun], epoll, (uint32_t)begun))
                    opening++;
                else
                    errors++;
            }
            struct epoll_event events[BATCH];
            int count = epoll_wait(epoll, events, BATCH, 100);
            for (int i = 0; i < count; i++) {
                uint32_t tag = events[i].data.u32;
                struct call *call = &calls[tag];
                int state = call->socket < 0 ? 0 : call->held ? -1 : call_step(call, epoll, tag, SIZE);
                if (!state)
                    continue;
                opening -= !call->held;
                call->held = state > 0;
                if (state > 0) {
                    watch(epoll, EPOLL_CTL_MOD, call->socket, EPOLLRDHUP, tag);
                } else {
                    errors++;
                    call_end(call);
                }
            }
        }
        size_t alive = 0;
        for (size_t i = 0; i < begun; i++)
            alive += calls[i].socket >= 0 && calls[i].held;
        printf("{\"wanted\": %zu, \"alive\": %zu, \"seconds\": %.3f, \"errors\": %llu}\n", wanted, alive,
               (double)(now() - began) / (double)SECOND, (unsigned long long)errors);
        fflush(stdout);
        char line[16];
        if (!fgets(line, sizeof line, stdin))
            return;
    }
}

int main(int argc, char **argv)
{
    struct rlimit files;
    signal(SIGPIPE, SIG_IGN);
    if (!getrlimit(RLIMIT_NOFILE, &files)) {
        files.rlim_cur = files.rlim_max;
        setrlimit(RLIMIT_NOFILE, &files);
    }
    if (argc < 3)
        misused();
    const char *verb = argv[1];
    if (!strcmp(verb, "echo") && argc == 3)
        echo((uint16_t)number(argv[2], 65535));
    if (argc < 5)
        misused();
    set_target(argv[2], argv[3]);
    if (!strcmp(verb, "verify") && argc == 5) {
        verify(number(argv[4], SIZE_MAX));
    } else if (!strcmp(verb, "idle")) {
        idle(argv + 4);
    } else if (argc != 7) {
        misused();
    } else if (!strcmp(verb, "ping")) {
        size_t connections = number(argv[4], 100000), size = number(argv[5], BUFFER);
        if (connections == 1)
            ping_one(size, duration(argv[6]));
        else
            ping_many(connections, size, duration(argv[6]));
    } else if (!strcmp(verb, "short")) {
        short_calls(number(argv[4], 100000), number(argv[5], BUFFER), duration(argv[6]));
    } else {
        misused();
    }
    return 0;
}
