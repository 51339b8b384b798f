/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
#pragma once
/* Every map. nodemeshd creates them once from maps.bpf.c, pins them, and gives them to each program it loads. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "nodemesh_abi.h"

/* The sizes below are replaced by nodemeshd's configuration. */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct nm_abi);
} nm_abi SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, NM_REASON_COUNT);
	__type(key, __u32);
	__type(value, __u64);
} nm_counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct nm_settings);
} nm_settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct nm_totals);
} nm_totals SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct nm_socket);
} nm_sockets SEC(".maps");

/* Captured connects, from the SYN until the proxy's side is established. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct nm_flow_key);
	__type(value, struct nm_flow_value);
} nm_origins SEC(".maps");

/* The proxy's own connects inside workloads' namespaces. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct nm_flow_key);
	__type(value, struct nm_flow_value);
} nm_proxied SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct nm_prefix_key);
	__type(value, __u32);
} nm_prefixes SEC(".maps");

/*
 * Storage of the cgroup that a program is attached to, whichever cgroup below it the socket belongs to: so one program
 * serves every workload, and several workloads may share a namespace. (BPF_MAP_TYPE_CGRP_STORAGE would need 6.2.)
 */
struct {
	__uint(type, BPF_MAP_TYPE_CGROUP_STORAGE);
	__type(key, __u64);
	__type(value, struct nm_workload);
} nm_workloads SEC(".maps");

/* Namespaces of enrolled workloads, by cookie. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, struct nm_namespace);
} nm_namespaces SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct nm_port_key);
	__type(value, struct nm_port);
} nm_ports SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, NM_LOST_PORT_WORDS);
	__type(key, __u32);
	__type(value, __u64);
} nm_lost_ports SEC(".maps");

/* Workloads, by key, whose inbound connections go on without a listening proxy. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u32);
} nm_fail_open SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 4096);
	__type(key, struct nm_exclusion_key);
	__type(value, __u32);
} nm_excluded_prefixes SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, struct nm_excluded_port);
	__type(value, __u32);
} nm_excluded_ports SEC(".maps");

/* Addresses of workloads with a namespace of their own. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, struct nm_local_key);
	__type(value, struct nm_local);
} nm_local SEC(".maps");

/* Open connections that reach their server without the proxy. Never evicted: what does not fit goes to the proxy. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, 65536);
	__type(key, struct nm_flow_key);
	__type(value, struct nm_direct_flow);
} nm_direct SEC(".maps");

/* Both ends of accelerated connections. A socket leaves by being closed; deleting one would lose what it has not read. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 65536);
	__type(key, struct nm_flow_key);
	__type(value, __u64);
} nm_sockmap SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct nm_join);
} nm_joins SEC(".maps");

/* Cached decisions of the proxy; an evicted one is made again. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 16384);
	__type(key, struct nm_verdict_key);
	__type(value, struct nm_verdict);
} nm_verdicts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, struct nm_load_key);
	__type(value, __u64);
} nm_loads SEC(".maps");

/* struct nm_event; the size is in bytes, a power of two and of pages. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1048576);
} nm_events SEC(".maps");

/* Inbound listeners, one slot per namespace. The kernel empties a slot when its socket closes. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 1024);
	__type(key, __u32);
	__type(value, __u64);
} nm_listeners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct nm_asked);
} nm_asked SEC(".maps");

/* An evicted one is answered all the same, by the node's resolvers. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536);
	__type(key, struct nm_query_key);
	__type(value, struct nm_flow_value);
} nm_queries SEC(".maps");

/* The TCP listeners of those that answer, which live and die with the rest. The kernel empties a slot when one closes. */
struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, 2048);
	__type(key, __u32);
	__type(value, __u64);
} nm_resolvers SEC(".maps");

/* Book-keeping of nodemeshd, by cgroup id; no program reads it. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, __u64);
	__type(value, struct nm_enrolment);
} nm_enrolled SEC(".maps");
