// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "cmeshlinux_diag.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

// The kernel fills at most this much into one part of a dump.
#define PART_SIZE 32768
_Static_assert(PART_SIZE / (sizeof(struct nlmsghdr) + sizeof(struct inet_diag_msg)) < NM_DIAG_PART, "NM_DIAG_PART");

// Missing in the headers of Linux 5.8 and older.
#define BC_CGROUP_COND 13
#define ATTRIBUTE_CGROUP_ID 21

int nm_diag_open(void)
{
	int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
	struct timeval limit = { .tv_sec = 5 };

	// The kernel answers at once; nobody shall wait for ever if it does not.
	if (fd >= 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	return fd;
}

static int send_to_kernel(int fd, const void *message, size_t length)
{
	struct sockaddr_nl kernel = { .nl_family = AF_NETLINK };

	return sendto(fd, message, length, 0, (struct sockaddr *)&kernel, sizeof(kernel)) < 0 ? -1 : 0;
}

int nm_diag_ask(int fd, int family, uint32_t states, int with_figures, uint64_t cgroup)
{
	struct {
		struct nlmsghdr header;
		struct inet_diag_req_v2 request;
		struct rtattr attribute;
		struct inet_diag_bc_op condition;
		uint8_t cgroup[8];
	} ask;

	memset(&ask, 0, sizeof(ask));
	ask.header.nlmsg_len = NLMSG_LENGTH(sizeof(ask.request));
	ask.header.nlmsg_type = SOCK_DIAG_BY_FAMILY;
	ask.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP;
	ask.request.sdiag_family = family;
	ask.request.sdiag_protocol = IPPROTO_TCP;
	ask.request.idiag_states = states;
	ask.request.idiag_ext = with_figures ? 1 << (INET_DIAG_INFO - 1) : 0;
	if (cgroup) {
		uint16_t length = sizeof(ask.condition) + sizeof(ask.cgroup);

		ask.attribute.rta_type = INET_DIAG_REQ_BYTECODE;
		ask.attribute.rta_len = RTA_LENGTH(length);
		ask.condition.code = BC_CGROUP_COND;
		ask.condition.yes = length;
		// A jump beyond the end rejects the socket.
		ask.condition.no = length + 4;
		memcpy(ask.cgroup, &cgroup, sizeof(cgroup));
		ask.header.nlmsg_len += ask.attribute.rta_len;
	}
	return send_to_kernel(fd, &ask, ask.header.nlmsg_len);
}

static void read_address(uint8_t ip[16], int family, const __be32 *address)
{
	if (family == AF_INET6) {
		memcpy(ip, address, 16);
		return;
	}
	memset(ip, 0, 10);
	memset(ip + 10, 0xff, 2);
	memcpy(ip + 12, address, 4);
}

static void read_figures(struct nm_diag_socket *out, const struct rtattr *attribute)
{
	struct tcp_info info;
	size_t length = RTA_PAYLOAD(attribute);

	// Another kernel sends less or more.
	memset(&info, 0, sizeof(info));
	memcpy(&info, RTA_DATA(attribute), length < sizeof(info) ? length : sizeof(info));
	out->bytes_sent = info.tcpi_bytes_sent;
	out->bytes_acknowledged = info.tcpi_bytes_acked;
	out->bytes_received = info.tcpi_bytes_received;
	out->smoothed_rtt = info.tcpi_rtt;
	out->least_rtt = info.tcpi_min_rtt;
}

static void read_socket(struct nm_diag_socket *out, const struct nlmsghdr *header)
{
	const struct inet_diag_msg *message = NLMSG_DATA(header);
	unsigned length = header->nlmsg_len - NLMSG_LENGTH(sizeof(*message));

	memset(out, 0, sizeof(*out));
	out->family = message->idiag_family;
	out->state = message->idiag_state;
	read_address(out->local.ip, message->idiag_family, message->id.idiag_src);
	read_address(out->remote.ip, message->idiag_family, message->id.idiag_dst);
	out->local.port = ntohs(message->id.idiag_sport);
	out->remote.port = ntohs(message->id.idiag_dport);
	out->interface = message->id.idiag_if;
	out->inode = message->idiag_inode;
	out->cookie = (uint64_t)message->id.idiag_cookie[1] << 32 | message->id.idiag_cookie[0];
	out->unread = message->idiag_rqueue;
	out->unacknowledged = message->idiag_wqueue;
	for (const struct rtattr *attribute = (const struct rtattr *)(message + 1); RTA_OK(attribute, length);
	     attribute = RTA_NEXT(attribute, length)) {
		if (attribute->rta_type == INET_DIAG_INFO)
			read_figures(out, attribute);
		else if (attribute->rta_type == ATTRIBUTE_CGROUP_ID && RTA_PAYLOAD(attribute) == sizeof(out->cgroup))
			memcpy(&out->cgroup, RTA_DATA(attribute), sizeof(out->cgroup));
	}
}

static int failure(const struct nlmsghdr *header)
{
	const struct nlmsgerr *error = NLMSG_DATA(header);

	if (header->nlmsg_len < NLMSG_LENGTH(sizeof(*error)))
		return EBADMSG;
	return -error->error;
}

ssize_t nm_diag_receive(int fd, struct nm_diag_socket *sockets, size_t capacity, int *done)
{
	union {
		struct nlmsghdr header;
		char bytes[PART_SIZE];
	} part;
	size_t count = 0;
	ssize_t received = recv(fd, &part, sizeof(part), 0);
	unsigned length;

	*done = 0;
	if (received < 0)
		return -1;
	length = received;
	for (const struct nlmsghdr *header = &part.header; NLMSG_OK(header, length);
	     header = NLMSG_NEXT(header, length)) {
		if (header->nlmsg_type == NLMSG_DONE) {
			*done = 1;
			break;
		}
		if (header->nlmsg_type == NLMSG_ERROR) {
			errno = failure(header);
			return -1;
		}
		if (header->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
		    header->nlmsg_len < NLMSG_LENGTH(sizeof(struct inet_diag_msg)))
			continue;
		if (count == capacity) {
			errno = ENOBUFS;
			return -1;
		}
		read_socket(&sockets[count++], header);
	}
	return count;
}

static void write_address(__be32 *address, int family, const uint8_t ip[16])
{
	memcpy(address, family == AF_INET6 ? ip : ip + 12, family == AF_INET6 ? 16 : 4);
}

int nm_diag_destroy(int fd, const struct nm_diag_socket *socket)
{
	struct {
		struct nlmsghdr header;
		struct inet_diag_req_v2 request;
	} ask;
	union {
		struct nlmsghdr header;
		char bytes[1024];
	} answer;
	ssize_t received;
	int error;

	memset(&ask, 0, sizeof(ask));
	ask.header.nlmsg_len = sizeof(ask);
	ask.header.nlmsg_type = SOCK_DESTROY;
	ask.header.nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
	ask.request.sdiag_family = socket->family;
	ask.request.sdiag_protocol = IPPROTO_TCP;
	ask.request.idiag_states = 1u << socket->state;
	write_address(ask.request.id.idiag_src, socket->family, socket->local.ip);
	write_address(ask.request.id.idiag_dst, socket->family, socket->remote.ip);
	ask.request.id.idiag_sport = htons(socket->local.port);
	ask.request.id.idiag_dport = htons(socket->remote.port);
	ask.request.id.idiag_if = socket->interface;
	ask.request.id.idiag_cookie[0] = (uint32_t)socket->cookie;
	ask.request.id.idiag_cookie[1] = (uint32_t)(socket->cookie >> 32);
	if (send_to_kernel(fd, &ask, sizeof(ask)) < 0)
		return -1;
	received = recv(fd, &answer, sizeof(answer), 0);
	if (received < 0)
		return -1;
	if (!NLMSG_OK(&answer.header, (unsigned)received) || answer.header.nlmsg_type != NLMSG_ERROR) {
		errno = EBADMSG;
		return -1;
	}
	error = failure(&answer.header);
	if (!error)
		return 0;
	errno = error;
	return -1;
}
