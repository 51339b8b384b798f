// SPDX-License-Identifier: Apache-2.0
//
// A scripted kernel for tests: makes system calls of this module fail, or move less than they were asked to. It exists
// only where NM_FAULTS is defined, which debug builds do; release builds have neither these functions nor a trace of
// them in the calls.
#pragma once
#include <stddef.h>

enum nm_call {
	NM_CALL_RECV,
	NM_CALL_PEEK,
	NM_CALL_DISCARD,
	NM_CALL_READV,
	NM_CALL_SEND,
	NM_CALL_SENDMSG,
	/// From a socket into a pipe.
	NM_CALL_SPLICE_IN,
	/// Out of a pipe.
	NM_CALL_SPLICE_OUT,
	NM_CALL_ACCEPT,
	NM_CALL_SOCKET,
	NM_CALL_CONNECT,
	NM_CALL_PIPE,
	NM_CALL_PIPE_SIZE,
	NM_CALL_EPOLL_CTL,
	NM_CALL_SETSOCKOPT,
	NM_CALL_EVENTFD,
	NM_CALL_KINDS
};

struct nm_fault_script;

/// An empty script; it counts calls. Never freed: a thread may still hold it.
struct nm_fault_script *nm_faults_make(void);
/// From now on the calling thread's calls follow `script`; NULL: the real kernel.
void nm_faults_attach(struct nm_fault_script *script);
/// The `first`-th call of a kind (from 1), and then every `every`-th (0: no other), fails with `error`; with error 0 it
/// moves at most `count` bytes.
void nm_faults_add(struct nm_fault_script *script, int call, unsigned first, unsigned every, int error, size_t count);
/// Drops all rules and begins to count from 0.
void nm_faults_clear(struct nm_fault_script *script);
/// Calls of a kind since the last clear, failed ones included.
unsigned nm_faults_calls(struct nm_fault_script *script, int call);
/// Faults since the last clear.
unsigned nm_faults_injected(struct nm_fault_script *script);
