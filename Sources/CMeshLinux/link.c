// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "cmeshlinux_link.h"

#include <errno.h>
#include <linux/if_link.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static int is_veth(const struct rtattr *info)
{
	int length = RTA_PAYLOAD(info);

	for (const struct rtattr *part = RTA_DATA(info); RTA_OK(part, length); part = RTA_NEXT(part, length))
		if (part->rta_type == IFLA_INFO_KIND)
			return RTA_PAYLOAD(part) >= 4 && memcmp(RTA_DATA(part), "veth", 4) == 0;
	return 0;
}

static int read_link(const struct nlmsghdr *header, struct nm_link *link)
{
	const struct ifinfomsg *message = NLMSG_DATA(header);
	int length = (int)header->nlmsg_len - (int)NLMSG_LENGTH(sizeof(*message));

	memset(link, 0, sizeof(*link));
	link->index = message->ifi_index;
	link->peer = message->ifi_index;
	for (const struct rtattr *part = IFLA_RTA(message); RTA_OK(part, length); part = RTA_NEXT(part, length)) {
		size_t size = RTA_PAYLOAD(part);

		if (part->rta_type == IFLA_LINK && size == sizeof(link->peer))
			memcpy(&link->peer, RTA_DATA(part), sizeof(link->peer));
		else if (part->rta_type == IFLA_ADDRESS && size == sizeof(link->mac))
			memcpy(link->mac, RTA_DATA(part), sizeof(link->mac));
		else if (part->rta_type == IFLA_LINKINFO)
			link->is_veth = is_veth(part);
	}
	return 0;
}

static int ask(int fd, uint32_t index, struct nm_link *link)
{
	struct {
		struct nlmsghdr header;
		struct ifinfomsg message;
	} request;
	struct timeval limit = { .tv_sec = 5 };
	union {
		struct nlmsghdr header;
		char bytes[16384];
	} answer;
	ssize_t received;

	memset(&request, 0, sizeof(request));
	request.header.nlmsg_len = sizeof(request);
	request.header.nlmsg_type = RTM_GETLINK;
	request.header.nlmsg_flags = NLM_F_REQUEST;
	request.message.ifi_family = AF_UNSPEC;
	request.message.ifi_index = (int)index;
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	if (send(fd, &request, sizeof(request), 0) < 0)
		return -1;
	received = recv(fd, &answer, sizeof(answer), 0);
	if (received < 0)
		return -1;
	if (!NLMSG_OK(&answer.header, (unsigned)received) ||
	    answer.header.nlmsg_len < NLMSG_LENGTH(sizeof(struct ifinfomsg))) {
		errno = EBADMSG;
		return -1;
	}
	if (answer.header.nlmsg_type == NLMSG_ERROR) {
		errno = -((struct nlmsgerr *)NLMSG_DATA(&answer.header))->error;
		return -1;
	}
	return read_link(&answer.header, link);
}

int nm_link_read(uint32_t index, struct nm_link *link)
{
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), result, error;

	if (fd < 0)
		return -1;
	result = ask(fd, index, link);
	error = errno;
	close(fd);
	errno = error;
	return result;
}

uint32_t nm_link_index(const char *name)
{
	return if_nametoindex(name);
}
