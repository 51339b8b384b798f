// SPDX-License-Identifier: Apache-2.0
#ifdef NM_FAULTS
#define _GNU_SOURCE
#include "faults_hook.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/stat.h>

enum { RULE_LIMIT = 16, FD_LIMIT = 65536 };

struct rule {
	int call;
	unsigned first, every;
	int error;
	size_t count;
};

struct nm_fault_script {
	pthread_mutex_t lock;
	struct rule rules[RULE_LIMIT];
	int rule_count;
	unsigned calls[NM_CALL_KINDS];
	unsigned injected;
};

static _Thread_local struct nm_fault_script *current;

/* Each entry is used by the thread that owns the descriptor. */
static struct {
	int epoll; /* plus one; 0: not watched */
	uint32_t events;
	uint64_t data;
} watched[FD_LIMIT];

struct nm_fault_script *nm_faults_make(void)
{
	struct nm_fault_script *script = calloc(1, sizeof(*script));

	if (script)
		pthread_mutex_init(&script->lock, NULL);
	return script;
}

void nm_faults_attach(struct nm_fault_script *script) { current = script; }

void nm_faults_add(struct nm_fault_script *script, int call, unsigned first, unsigned every, int error, size_t count)
{
	pthread_mutex_lock(&script->lock);
	if (script->rule_count < RULE_LIMIT)
		script->rules[script->rule_count++] = (struct rule){ call, first, every, error, count };
	pthread_mutex_unlock(&script->lock);
}

void nm_faults_clear(struct nm_fault_script *script)
{
	pthread_mutex_lock(&script->lock);
	script->rule_count = 0;
	script->injected = 0;
	for (int call = 0; call < NM_CALL_KINDS; call++)
		script->calls[call] = 0;
	pthread_mutex_unlock(&script->lock);
}

unsigned nm_faults_calls(struct nm_fault_script *script, int call)
{
	pthread_mutex_lock(&script->lock);
	unsigned calls = script->calls[call];
	pthread_mutex_unlock(&script->lock);
	return calls;
}

unsigned nm_faults_injected(struct nm_fault_script *script)
{
	pthread_mutex_lock(&script->lock);
	unsigned injected = script->injected;
	pthread_mutex_unlock(&script->lock);
	return injected;
}

void nm_fault_watched(int epoll, int operation, int fd, uint32_t events, uint64_t data)
{
	if (fd < 0 || fd >= FD_LIMIT)
		return;
	watched[fd].epoll = operation == EPOLL_CTL_DEL ? 0 : epoll + 1;
	watched[fd].events = events;
	watched[fd].data = data;
}

int nm_fault_is_pipe(int fd)
{
	struct stat status;

	return current && fstat(fd, &status) == 0 && S_ISFIFO(status.st_mode);
}

/* A real kernel says "later" or "not all of it" only when an edge will follow. Here the socket may be ready all the
 * time, so the edge is made: a change of what is watched reports again what is ready. */
static void make_edge(int fd)
{
	if (fd < 0 || fd >= FD_LIMIT || watched[fd].epoll == 0)
		return;
	struct epoll_event event = { .events = watched[fd].events, .data = { .u64 = watched[fd].data } };
	epoll_ctl(watched[fd].epoll - 1, EPOLL_CTL_MOD, fd, &event);
}

int nm_fault(int call, int fd, int other, size_t *count)
{
	struct nm_fault_script *script = current;
	int error = 0, hit = 0;

	if (!script)
		return 0;
	pthread_mutex_lock(&script->lock);
	unsigned number = ++script->calls[call];
	for (int index = 0; index < script->rule_count && !hit; index++) {
		const struct rule *rule = &script->rules[index];

		if (rule->call != call || number < rule->first)
			continue;
		if (number != rule->first && (!rule->every || (number - rule->first) % rule->every))
			continue;
		if (rule->error) {
			error = rule->error;
			hit = 1;
		} else if (count && *count > rule->count) {
			*count = rule->count;
			hit = 1;
		}
	}
	script->injected += hit;
	pthread_mutex_unlock(&script->lock);
	if (!hit)
		return 0;
	if (error == 0 || error == EAGAIN) {
		make_edge(fd);
		make_edge(other);
	}
	errno = error;
	return error != 0;
}
#else
/* ISO C wants something in every file. */
typedef int nm_no_faults;
#endif
