#pragma once
// SPDX-License-Identifier: Apache-2.0 OR GPL-2.0-only OR BSD-2-Clause
/*
 * What the eBPF programs and nodemeshd share: map values, limits and reason codes. Swift imports this header directly.
 *
 * Rules: fixed-width fields, explicit padding, no pointers, no enum fields. Addresses are four words in network order,
 * IPv4 as ::ffff:a.b.c.d (RFC 4291 2.5.5.2); ports are in host order. Any change to a struct raises NM_ABI_VERSION, and
 * a daemon that finds pins of another version rebuilds them.
 */
#include <linux/types.h>

#define NM_ABI_VERSION 1

/* Addresses of one workload that its own connects never leave for the proxy. */
#define NM_OWN_ADDRESSES 8

/* nm_config.flags */
#define NM_CONFIG_FAIL_OPEN 1 /* without a listening proxy, connects and SYNs go where they would go without nodemesh */

/* nm_workload.flags */
#define NM_WORKLOAD_ACTIVE 1 /* zeroed storage (not yet, or no longer, enrolled) refuses mesh destinations */

/* nm_socket.kind */
#define NM_SOCKET_DIALLED 1 /* a workload's connecting socket: what its application dialled */
#define NM_SOCKET_ORIGIN 2  /* a connection the proxy accepted: where its workload wanted to go */
#define NM_SOCKET_CLIENT 3  /* the proxy's connection to an application, and its other end: the real client */

/* Read-only configuration of a program, set before it is loaded. */
struct nm_config {
	__u64 netns;	     /* inbound: cookie of the namespace it is attached to */
	__u32 slot;	     /* inbound: index of the workload's listener in nm_listeners */
	__u32 flags;	     /* NM_CONFIG_* */
	__u16 outbound_port; /* where the proxy takes captured connects, on 127.0.0.1 of each namespace */
	__u16 inbound_port;  /* where it takes inbound connections */
	__u32 pad;
};

struct nm_endpoint {
	__u32 ip[4];
	__u16 port;
	__u16 pad;
};

/* nm_abi: layout of everything else that is pinned. */
struct nm_abi {
	__u32 version;
	__u32 pad;
};

/* nm_workloads: storage of the cgroup a program is attached to. */
struct nm_workload {
	__u32 key;	 /* nodemeshd's number for the workload */
	__u32 flags;	 /* NM_WORKLOAD_* */
	__u32 slot;	 /* index in nm_listeners */
	__u32 source4;	 /* IPv4 source of captured connects whose application chose none, 0 to let the kernel choose */
	__u32 own_count;
	__u32 own[NM_OWN_ADDRESSES][4];
};

/* nm_sockets: storage of one socket. */
struct nm_socket {
	struct nm_endpoint address;
	__u32 workload; /* NM_SOCKET_ORIGIN: nm_workload.key */
	__u32 kind;	/* NM_SOCKET_* */
};

/* nm_origins and nm_proxied: one TCP connection between two sockets of a namespace, seen from its client. */
struct nm_flow_key {
	__u64 netns;
	__u32 source_ip[4];
	__u32 destination_ip[4];
	__u16 source_port;
	__u16 destination_port;
	__u32 pad;
};

struct nm_flow_value {
	struct nm_endpoint address; /* nm_origins: original destination; nm_proxied: real client, port 0 if unknown */
	__u32 workload;
};

/* nm_prefixes: destinations that belong to the mesh; the value is the family the prefix was declared in. */
#define NM_FAMILY_IPV4 4
#define NM_FAMILY_IPV6 6
struct nm_prefix_key {
	__u32 length; /* in the 128-bit form */
	__u32 ip[4];
};

/* nm_enrolled: keyed by cgroup id. What a restarted daemon needs to take over the pins. */
struct nm_enrolment {
	__u64 netns; /* cookie */
	__u64 netns_inode;
	__u32 key;
	__u32 slot;
};

/* Index of nm_counters. Append only: a number never changes its meaning. */
enum nm_reason {
	NM_REASON_CAPTURED = 0,		     /* connect sent to the proxy */
	NM_REASON_SELF_BYPASSED = 1,	     /* connect to an address of the workload itself */
	NM_REASON_OUTBOUND_FAILED_OPEN = 2,  /* connect left alone because no proxy listens */
	NM_REASON_CAPTURE_PORT_REFUSED = 3,  /* the application dialled one of the proxy's own ports */
	NM_REASON_INACTIVE_REFUSED = 4,	     /* mesh destination, but the workload is not (any longer) enrolled */
	NM_REASON_IPV6_REFUSED = 5,	     /* native IPv6 destination inside the mesh */
	NM_REASON_STORAGE_REFUSED = 6,	     /* no memory to record what the application dialled */
	NM_REASON_DEVICE_REFUSED = 7,	     /* SO_BINDTODEVICE could not be lifted */
	NM_REASON_ORIGIN_LOST = 8,	     /* the original destination could not be published: the proxy will refuse */
	NM_REASON_ORIGIN_DELIVERED = 9,	     /* a connection the proxy accepted knows its original destination */
	NM_REASON_ORIGIN_MISSING = 10,	     /* a connection the proxy accepted without one: it will refuse */
	NM_REASON_CLIENT_DELIVERED = 11,     /* an application's accepted connection shows its real client */
	NM_REASON_CLIENT_LOST = 12,	     /* it shows the proxy's address instead */
	NM_REASON_PROXY_CONNECT = 13,	     /* the proxy connected to an application */
	NM_REASON_PROXY_CONNECT_LOST = 14,   /* that connect could not be recorded */
	NM_REASON_INBOUND_STEERED = 15,	     /* segment for a new connection handed to the proxy */
	NM_REASON_INBOUND_LOCAL = 16,	     /* left alone: from the namespace itself */
	NM_REASON_INBOUND_PROXY = 17,	     /* left alone: the proxy's own connection to the application */
	NM_REASON_INBOUND_REFUSED = 18,	     /* no proxy listens for the workload */
	NM_REASON_INBOUND_FAILED_OPEN = 19,  /* left alone because no proxy listens */
	NM_REASON_INBOUND_FAMILY_REFUSED = 20, /* IPv6, which the proxy's listener does not take */
	NM_REASON_COUNT = 21,
};

_Static_assert(sizeof(struct nm_config) == 24, "nm_config");
_Static_assert(sizeof(struct nm_endpoint) == 20, "nm_endpoint");
_Static_assert(sizeof(struct nm_abi) == 8, "nm_abi");
_Static_assert(sizeof(struct nm_workload) == 20 + 16 * NM_OWN_ADDRESSES, "nm_workload");
_Static_assert(sizeof(struct nm_socket) == 28, "nm_socket");
_Static_assert(sizeof(struct nm_flow_key) == 48, "nm_flow_key");
_Static_assert(sizeof(struct nm_flow_value) == 24, "nm_flow_value");
_Static_assert(sizeof(struct nm_prefix_key) == 20, "nm_prefix_key");
_Static_assert(sizeof(struct nm_enrolment) == 24, "nm_enrolment");
