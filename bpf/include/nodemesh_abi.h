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

#define NM_ABI_VERSION 4

/* Addresses of one workload that its own connects never leave for the proxy. */
#define NM_OWN_ADDRESSES 16

/* Endpoints that one verdict of the direct path chooses from; a destination with more of them stays on the proxy. */
#define NM_TARGETS 8

/*
 * Resolvers that one UDP socket may ask at a time and be answered by each in its own name; a further one takes the place
 * of the one that came first. nodemeshd answers at nm_config.dns_port and the ports behind it, one for each.
 */
#define NM_RESOLVERS 3

/* nm_settings.flags */
#define NM_SETTING_EXCLUSIONS 1 /* nm_excluded_prefixes or nm_excluded_ports holds something of workload 0 (all) */
#define NM_SETTING_DIRECT 2	/* the direct path may be taken */
#define NM_SETTING_SOCKMAP 4	/* what is read from socket maps is counted, so that sockets may join one */

/* nm_workload.flags */
#define NM_WORKLOAD_ACTIVE 1	    /* zeroed storage (not yet, or no longer, enrolled) refuses mesh destinations */
#define NM_WORKLOAD_FAIL_OPEN 2	    /* without a listening proxy, connects go where they would go without nodemesh */
#define NM_WORKLOAD_SHARED 4	    /* shares its namespace's addresses: its own are told by port, see nm_ports */
#define NM_WORKLOAD_EXCLUSIONS 8    /* has exclusions of its own */
#define NM_WORKLOAD_GUARDED 16	    /* an ancestor cgroup carries the guard: what is left alone has to be marked */
#define NM_WORKLOAD_ACCELERATED 32  /* may join a socket map with another such workload */
#define NM_WORKLOAD_ORIGINAL 64	    /* SO_ORIGINAL_DST is answered: what it accepts is marked */
#define NM_WORKLOAD_DNS 128	    /* nodemeshd answers what it asks of any resolver */

/* nm_namespace.flags */
#define NM_NAMESPACE_SHARED 1	  /* only ports in nm_ports are steered */
#define NM_NAMESPACE_EXCLUSIONS 2 /* a workload in it has inbound ports excluded */
#define NM_NAMESPACE_IPV6 4	  /* its listeners take IPv6 */

/* nm_socket.kind */
#define NM_SOCKET_DIALLED 1 /* a workload's captured socket: what its application dialled */
#define NM_SOCKET_ORIGIN 2  /* a connection the outbound listener accepted: where its workload wanted to go */
#define NM_SOCKET_CLIENT 3  /* the proxy's connection to an application, and its other end: the real client */
#define NM_SOCKET_INBOUND 4 /* a connection the inbound listener accepted: for whom it is, and perhaps of whom */
#define NM_SOCKET_DIRECT 5  /* a workload's socket on the direct path: what its application dialled */
#define NM_SOCKET_LEFT 6    /* looked at and left alone; only below a guard */
#define NM_SOCKET_ACCEPTED 7 /* accepted without the proxy; only where SO_ORIGINAL_DST is answered */

/* nm_direct_flow.kind: why a connection reaches its server without the proxy in between. */
#define NM_FLOW_DIRECT 1 /* a cached verdict allows it */
#define NM_FLOW_PROBE 2	 /* a client in one of the cgroups configured for health probes */
#define NM_FLOW_LOCAL 3	 /* an enrolled workload dials an address of the namespace it shares */

/* nm_direct_flow.state */
#define NM_FLOW_CONNECTING 0
#define NM_FLOW_ESTABLISHED 1

/* nm_direct_flow.flags */
#define NM_FLOW_ACCELERATED 1	/* both workloads ask for it: its ends may join the socket map */
#define NM_FLOW_CLIENT_JOINED 2 /* the client's end is in nm_sockmap */
#define NM_FLOW_SERVER_JOINED 4
#define NM_FLOW_STALLED 8	/* told nodemeshd that a reader has left too much */

/* nm_join.decision: taken when a socket first sends, and never changed. */
#define NM_JOIN_UNDECIDED 0
#define NM_JOIN_TCP 1	   /* the other end could not be reached yet, so that bytes would overtake each other later */
#define NM_JOIN_REDIRECT 2 /* into the other end's queue */

/* What one message in a queue takes besides its bytes: struct sk_msg, allocated from kmalloc-1k. */
#define NM_MESSAGE_COST 1024

/* nm_config.flags */
#define NM_CONFIG_SHARED 1    /* inbound: several workloads may live in the namespace, and others */
#define NM_CONFIG_MULTIPATH 2 /* the kernel can tell MPTCP subflows (it has BTF) */

/* Read-only configuration of a program, set before it is loaded. */
struct nm_config {
	__u64 netns;	     /* inbound: cookie of the namespace it is attached to */
	__u16 outbound_port; /* where the proxy takes captured connects, on 127.0.0.1 and ::1 of each namespace */
	__u16 inbound_port;  /* where it takes inbound connections */
	__u32 flags;	     /* NM_CONFIG_* */
	__u16 dns_port;	     /* where nodemeshd answers DNS, on 127.0.0.1 and ::1 of each namespace; see NM_RESOLVERS */
	__u16 pad;
	__u32 pad2;
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

/* nm_settings: what nodemeshd changes while programs run. */
struct nm_settings {
	__u32 flags;	    /* NM_SETTING_* */
	__u32 generation;   /* of the policies; a verdict of another one does not count */
	__u64 direct_limit; /* direct connections from which on more of them stay on the proxy */
	__u64 sockmap_cap;  /* bytes that may wait unread in each direction of an accelerated connection */
};

/* nm_totals: what the programs count for themselves. */
struct nm_totals {
	__u64 direct_open; /* entries of nm_direct of kind NM_FLOW_DIRECT */
};

/* nm_workloads: storage of the cgroup a program is attached to. */
struct nm_workload {
	__u64 netns;	 /* cookie of its namespace */
	__u32 key;	 /* nodemeshd's number for the workload, from 1 on */
	__u32 flags;	 /* NM_WORKLOAD_* */
	__u32 slot;	 /* of its namespace in nm_listeners */
	__u32 source4;	 /* IPv4 source of captured connects whose application chose none, 0 to let the kernel choose */
	__u32 source6[4]; /* the same for IPv6, :: to let the kernel choose */
	__u32 pad;
	__u32 own_count;
	__u32 own[NM_OWN_ADDRESSES][4];
};

/* nm_sockets: storage of one socket. */
struct nm_socket {
	__u64 netns;		    /* NM_SOCKET_DIRECT: cookie of the server's namespace */
	struct nm_endpoint address; /* by kind; NM_SOCKET_INBOUND: unused; NM_SOCKET_DIRECT: pad is nm_target.flags */
	__u32 workload;		    /* nm_workload.key; NM_SOCKET_CLIENT and _INBOUND: of the server */
	__u32 source;		    /* NM_SOCKET_INBOUND: nm_workload.key of the client, 0 if it is no workload here */
	__u32 target;		    /* NM_SOCKET_DIRECT: nm_workload.key of the server */
	__u32 generation;	    /* NM_SOCKET_DIRECT: of the verdict */
	__u32 kind;		    /* NM_SOCKET_* */
};

/* nm_origins, nm_proxied and nm_direct: one TCP connection, seen from its client; the namespace is the server's. */
struct nm_flow_key {
	__u64 netns;
	__u32 source_ip[4];
	__u32 destination_ip[4];
	__u16 source_port;
	__u16 destination_port;
	__u32 pad;
};

#define NM_FLOW_KEPT 1 /* nm_origins, in address.pad: getpeername() needs the record as long as the socket lives */
struct nm_flow_value {
	struct nm_endpoint address; /* nm_origins: original destination; nm_proxied: real client, port 0 if unknown */
	__u32 workload;		    /* nm_origins: the client's; nm_proxied: the server's, 0 if unknown */
};

/* nm_asked: storage of a UDP socket that asks resolvers; one of port 0 is a free place. */
struct nm_asked {
	struct nm_endpoint resolvers[NM_RESOLVERS];
	__u32 next; /* the place that is taken next when none is free; NM_RESOLVERS: the first */
};

/*
 * nm_queries: whom a UDP socket asked, by what nodemeshd sees of its datagrams. A socket's source address is left out: it
 * may be any of the namespace's. The value is nm_flow_value: the resolver, and the workload that asks.
 */
struct nm_query_key {
	__u64 netns;
	__u16 port;   /* the socket's own */
	__u16 place;  /* in nm_asked.resolvers, and so the port of nodemeshd's behind nm_config.dns_port */
	__u32 family; /* NM_FAMILY_IPV4 or _IPV6, of the loopback address it was sent to */
};

/* nm_resolvers: where nodemeshd answers, by slot of the namespace: two of them, by family. */
#define NM_RESOLVER_INDEX(slot, is_ip4) ((slot) * 2 + ((is_ip4) ? 0 : 1))

/* One direction of an accelerated connection. `taken` is the reader's, the rest is the sender's to write. */
struct nm_stream {
	__u64 redirected; /* bytes put into the reader's queue */
	__u64 taken;	  /* of them, bytes it has read */
	__u64 mark;	  /* `redirected` when `recent` began */
	__u32 earlier;	  /* messages between the mark before and `mark` */
	__u32 recent;	  /* messages since `mark` */
};

/* nm_joins: storage of a socket in nm_sockmap. */
struct nm_join {
	struct nm_flow_key key; /* in nm_direct; in nm_sockmap with pad = 1 + side */
	__u64 cookie;		/* nm_direct_flow.cookie */
	__u32 side;		/* 0: the client's end, 1: the server's */
	__u32 decision;		/* NM_JOIN_* */
};

/* nm_direct: an open connection that the server's namespace admits without the proxy. */
struct nm_direct_flow {
	__u64 opened;	    /* ktime_get_ns */
	__u64 cookie;	    /* of the client's socket */
	__u64 client_netns; /* cookie */
	__u32 source;	    /* nm_workload.key, 0 for a probe */
	__u32 target;	    /* nm_workload.key, 0 if unknown */
	__u32 generation;   /* of the verdict */
	__u16 kind;	    /* NM_FLOW_* */
	__u16 state;	    /* NM_FLOW_CONNECTING, NM_FLOW_ESTABLISHED */
	struct nm_endpoint dialled;
	__u32 flags;	    /* NM_FLOW_ACCELERATED, ... */
	struct nm_stream streams[2]; /* what the client sends, what the server sends */
};

/* nm_verdicts: where connects of a workload to one address may go without the proxy. */
struct nm_verdict_key {
	__u32 source; /* nm_workload.key */
	__u32 ip[4];
	__u16 port;
	__u16 pad;
};

#define NM_TARGET_ACCELERATED 1 /* client and server ask for a socket map, and neither is known not to bear it */
struct nm_target {
	__u64 netns;  /* cookie of the server's namespace */
	__u32 ip[4];
	__u16 port;
	__u16 flags;  /* NM_TARGET_* */
	__u32 key;    /* nm_workload.key of the server */
	__u32 upto;   /* chosen when a random number below 65536 is below this and not below that of the target before */
	__u32 pad2;
};

/* A random number at or above every target's `upto` means the proxy: the share of endpoints elsewhere. */
struct nm_verdict {
	__u32 generation;
	__u32 count;
	struct nm_target targets[NM_TARGETS];
};

/* nm_loads: open direct connections per server. */
struct nm_load_key {
	__u32 key; /* nm_workload.key */
	__u16 port;
	__u16 pad;
};

/* nm_prefixes: destinations that belong to the mesh; the value is the family the prefix was declared in. */
#define NM_FAMILY_IPV4 4
#define NM_FAMILY_IPV6 6
struct nm_prefix_key {
	__u32 length; /* in the 128-bit form */
	__u32 ip[4];
};

/* nm_excluded_prefixes: destinations never captured; the value is the family as in nm_prefixes. */
struct nm_exclusion_key {
	__u32 length;	/* of workload and ip together: 32 + that of the 128-bit form */
	__u32 workload; /* nm_workload.key, 0 for all */
	__u32 ip[4];
};

/* nm_excluded_ports; the value is 1. */
#define NM_OUTBOUND 0
#define NM_INBOUND 1
struct nm_excluded_port {
	__u32 workload; /* nm_workload.key, 0 for all */
	__u16 port;
	__u16 direction; /* NM_OUTBOUND: destination port; NM_INBOUND: the workload's own */
};

/* nm_namespaces: namespaces of enrolled workloads, by cookie. */
struct nm_namespace {
	__u32 slot;	/* in nm_listeners */
	__u32 flags;	/* NM_NAMESPACE_* */
	__u32 workload; /* its only one; 0 when shared */
	__u32 pad;
};

/* nm_ports: who listens where in a shared namespace. */
struct nm_port_key {
	__u64 netns;
	__u16 port;
	__u16 pad;
	__u32 pad2;
};

/*
 * An entry whose `listeners` is 0 owns nothing. Programs only add and subtract: nodemeshd deletes, so that no entry goes
 * while one of two listeners lives.
 */
#define NM_PORT_FOUND 0x80000000 /* a bit of `listeners`: nodemeshd found one that listened before the programs watched */
struct nm_port {
	__u32 workload;	 /* nm_workload.key */
	__u32 listeners; /* that the programs saw begin to listen */
};

/* nm_lost_ports: one bit per port that did not fit in nm_ports; whoever dials one is refused. */
#define NM_LOST_PORT_WORDS 1024

/* nm_local: addresses of workloads with a namespace of their own. */
struct nm_local_key {
	__u32 ip[4];
};

struct nm_local {
	__u64 netns;	   /* cookie */
	__u32 workload;	   /* nm_workload.key */
	__u32 ifindex;	   /* host end of its veth, 0 if unknown or not to be redirected to */
	__u8 peer_mac[6];  /* of the end inside */
	__u8 host_mac[6];  /* of the end outside */
	__u32 pad;
};

/* nm_enrolled: keyed by cgroup id. What a restarted daemon needs to take over the pins. */
struct nm_enrolment {
	__u64 netns; /* cookie */
	__u64 netns_inode;
	__u32 key;
	__u32 slot;
};

/* nm_events, a ring buffer. Decisions wake its reader; what becomes of direct connections waits for its next look. */
#define NM_EVENTS_PAUSE 50 /* milliseconds between looks */
#define NM_EVENT_DECISION 0	 /* a connect or SYN was refused, left alone or lost something */
#define NM_EVENT_DIRECT_OPENED 1 /* nm_direct has a new established connection */
#define NM_EVENT_DIRECT_CLOSED 2

/* nm_event.close: how a direct connection ended. */
#define NM_CLOSE_NONE 0
#define NM_CLOSE_CLIENT 1  /* both ends finished, the client first */
#define NM_CLOSE_SERVER 2  /* both ends finished, the server first */
#define NM_CLOSE_CLIENT_RESET 3 /* the client's application aborted it */
#define NM_CLOSE_REFUSED 4	/* never established: the server's host refused it */
#define NM_CLOSE_SERVER_RESET 5
#define NM_CLOSE_TIMED_OUT 6 /* never established, or nobody acknowledged any more */
#define NM_CLOSE_DESTROYED 7 /* ended from outside, as nodemeshd does it */

struct nm_event {
	__u64 time;	    /* ktime_get_ns */
	__u32 type;	    /* NM_EVENT_* */
	__u32 reason;	    /* enum nm_reason */
	__u32 workload;	    /* the one whose programs decided; NM_EVENT_DIRECT_*: the client's; 0 if unknown */
	__u32 target;	    /* NM_EVENT_DIRECT_*: the server's */
	struct nm_endpoint source; /* port 0 and :: where not chosen yet */
	struct nm_endpoint destination; /* as dialled */
	struct nm_endpoint upstream;    /* NM_EVENT_DIRECT_*: the server */
	__u32 close;	    /* NM_CLOSE_* */
	__u64 netns;	    /* of the server, cookie; 0 if unknown */
	__u64 cookie;	    /* of the client's socket, 0 if unknown */
	__u64 duration;	    /* nanoseconds */
	__u64 bytes_sent;   /* by the client */
	__u64 bytes_received;
};

/* Index of nm_counters. Append only: a number never changes its meaning. */
enum nm_reason {
	NM_REASON_CAPTURED = 0,		     /* connect sent to the proxy */
	NM_REASON_SELF_BYPASSED = 1,	     /* connect to an address of the workload itself */
	NM_REASON_OUTBOUND_FAILED_OPEN = 2,  /* connect left alone because no proxy listens */
	NM_REASON_CAPTURE_PORT_REFUSED = 3,  /* the application dialled one of the proxy's own ports */
	NM_REASON_INACTIVE_REFUSED = 4,	     /* mesh destination, but the workload is not (any longer) enrolled */
	NM_REASON_IPV6_REFUSED = 5,	     /* IPv6 destination of the mesh where the proxy listens on IPv4 only */
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
	NM_REASON_OUTBOUND_EXCLUDED = 21,    /* connect left alone: its destination is excluded */
	NM_REASON_INBOUND_EXCLUDED = 22,     /* left alone: the port is excluded */
	NM_REASON_DIRECT = 23,		     /* connect sent straight to a workload of this node */
	NM_REASON_DIRECT_STALE = 24,	     /* the verdict is of another policy: connect sent to the proxy */
	NM_REASON_DIRECT_FULL = 25,	     /* too many direct connections: connect sent to the proxy */
	NM_REASON_DIRECT_LOST = 26,	     /* a direct connection could not be recorded: its SYN will be steered */
	NM_REASON_INBOUND_DIRECT = 27,	     /* left alone: a direct connection */
	NM_REASON_INBOUND_PROBE = 28,	     /* left alone: a health probe of this node */
	NM_REASON_UNENROLLED_REFUSED = 29,   /* mesh destination, below a template but not enrolled yet */
	NM_REASON_PORT_LOST = 30,	     /* a listening port could not be recorded: nobody reaches it */
	NM_REASON_INBOUND_UNOWNED = 31,	     /* left alone: nobody enrolled listens on the port */
	NM_REASON_SOCKMAP_JOINED = 32,	     /* both ends of a direct connection share a socket map */
	NM_REASON_SOCKMAP_STALLED = 33,	     /* ended: the receiver left more unread than the cap allows */
	NM_REASON_EVENT_LOST = 34,	     /* the ring buffer was full */
	NM_REASON_DNS_CAPTURED = 35,	     /* query, or connect to a resolver, sent to nodemeshd */
	NM_REASON_DNS_FAILED_OPEN = 36,	     /* it goes to the resolver itself: nodemeshd does not answer */
	NM_REASON_DNS_LEFT = 37,	     /* the same: its socket is tied to a device, a link or another namespace */
	NM_REASON_DNS_RESOLVER_LOST = 38,    /* captured, but not whom it asked: the node's own resolvers are asked */
	NM_REASON_COUNT = 39,
};

_Static_assert(sizeof(struct nm_config) == 24, "nm_config");
_Static_assert(sizeof(struct nm_endpoint) == 20, "nm_endpoint");
_Static_assert(sizeof(struct nm_abi) == 8, "nm_abi");
_Static_assert(sizeof(struct nm_settings) == 24, "nm_settings");
_Static_assert(sizeof(struct nm_totals) == 8, "nm_totals");
_Static_assert(sizeof(struct nm_workload) == 48 + 16 * NM_OWN_ADDRESSES, "nm_workload");
_Static_assert(sizeof(struct nm_socket) == 48, "nm_socket");
_Static_assert(sizeof(struct nm_flow_key) == 48, "nm_flow_key");
_Static_assert(sizeof(struct nm_flow_value) == 24, "nm_flow_value");
_Static_assert(sizeof(struct nm_asked) == 4 + 20 * NM_RESOLVERS, "nm_asked");
_Static_assert(sizeof(struct nm_query_key) == 16, "nm_query_key");
_Static_assert(sizeof(struct nm_stream) == 32, "nm_stream");
_Static_assert(sizeof(struct nm_join) == 64, "nm_join");
_Static_assert(sizeof(struct nm_direct_flow) == 128, "nm_direct_flow");
_Static_assert(sizeof(struct nm_verdict_key) == 24, "nm_verdict_key");
_Static_assert(sizeof(struct nm_target) == 40, "nm_target");
_Static_assert(sizeof(struct nm_verdict) == 8 + 40 * NM_TARGETS, "nm_verdict");
_Static_assert(sizeof(struct nm_load_key) == 8, "nm_load_key");
_Static_assert(sizeof(struct nm_prefix_key) == 20, "nm_prefix_key");
_Static_assert(sizeof(struct nm_exclusion_key) == 24, "nm_exclusion_key");
_Static_assert(sizeof(struct nm_excluded_port) == 8, "nm_excluded_port");
_Static_assert(sizeof(struct nm_namespace) == 16, "nm_namespace");
_Static_assert(sizeof(struct nm_port_key) == 16, "nm_port_key");
_Static_assert(sizeof(struct nm_port) == 8, "nm_port");
_Static_assert(sizeof(struct nm_local_key) == 16, "nm_local_key");
_Static_assert(sizeof(struct nm_local) == 32, "nm_local");
_Static_assert(sizeof(struct nm_enrolment) == 24, "nm_enrolment");
_Static_assert(sizeof(struct nm_event) == 128, "nm_event");
