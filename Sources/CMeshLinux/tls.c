// SPDX-License-Identifier: Apache-2.0
#define _GNU_SOURCE
#include "cmeshlinux_tls.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/tls.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#ifndef SOL_TLS
#define SOL_TLS 282
#endif
#ifndef TLS_CIPHER_CHACHA20_POLY1305
#define TLS_CIPHER_CHACHA20_POLY1305 54
#endif

/* struct tls12_crypto_info_chacha20_poly1305: not in every linux/tls.h. */
struct chacha20_info {
	struct tls_crypto_info info;
	unsigned char iv[12], key[32], rec_seq[8];
};

union suite_info {
	struct tls_crypto_info info;
	struct tls12_crypto_info_aes_gcm_128 aes128;
	struct tls12_crypto_info_aes_gcm_256 aes256;
	struct chacha20_info chacha20;
};

/* The length that the kernel demands for a suite, and where it wants the record number; 0: unknown suite. */
static socklen_t layout(uint16_t suite, union suite_info *info, unsigned char **sequence)
{
	switch (suite) {
	case 0x1301:
		*sequence = info->aes128.rec_seq;
		return sizeof(info->aes128);
	case 0x1302:
		*sequence = info->aes256.rec_seq;
		return sizeof(info->aes256);
	case 0x1303:
		*sequence = info->chacha20.rec_seq;
		return sizeof(info->chacha20);
	default:
		errno = EINVAL;
		return 0;
	}
}

int nm_tls_install(int fd, int receiving, uint16_t suite, const uint8_t *key, const uint8_t *iv, uint64_t sequence)
{
	union suite_info info = { 0 };
	unsigned char *number;
	socklen_t size = layout(suite, &info, &number);
	int result;

	if (size == 0)
		return -1;
	info.info.version = TLS_1_3_VERSION;
	switch (suite) {
	case 0x1301:
		info.info.cipher_type = TLS_CIPHER_AES_GCM_128;
		memcpy(info.aes128.salt, iv, 4);
		memcpy(info.aes128.iv, iv + 4, 8);
		memcpy(info.aes128.key, key, 16);
		break;
	case 0x1302:
		info.info.cipher_type = TLS_CIPHER_AES_GCM_256;
		memcpy(info.aes256.salt, iv, 4);
		memcpy(info.aes256.iv, iv + 4, 8);
		memcpy(info.aes256.key, key, 32);
		break;
	default:
		info.info.cipher_type = TLS_CIPHER_CHACHA20_POLY1305;
		memcpy(info.chacha20.iv, iv, 12);
		memcpy(info.chacha20.key, key, 32);
		break;
	}
	for (int index = 0; index < 8; index++)
		number[index] = (unsigned char)(sequence >> (56 - 8 * index));
	result = setsockopt(fd, SOL_TLS, receiving ? TLS_RX : TLS_TX, &info, size);
	explicit_bzero(&info, sizeof(info));
	return result;
}

int nm_tls_sequence(int fd, int receiving, uint16_t suite, uint64_t *sequence)
{
	union suite_info info = { 0 };
	unsigned char *number;
	socklen_t size = layout(suite, &info, &number);
	int result;

	if (size == 0)
		return -1;
	result = getsockopt(fd, SOL_TLS, receiving ? TLS_RX : TLS_TX, &info, &size);
	*sequence = 0;
	for (int index = 0; index < 8; index++)
		*sequence = *sequence << 8 | number[index];
	explicit_bzero(&info, sizeof(info));
	return result;
}

ssize_t nm_tls_send_record(int fd, uint8_t type, const void *content, size_t count)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(1)];
	} control = { 0 };
	struct iovec vector = { .iov_base = (void *)content, .iov_len = count };
	struct msghdr message = {
		.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)
	};
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_TLS;
	header->cmsg_type = TLS_SET_RECORD_TYPE;
	header->cmsg_len = CMSG_LEN(1);
	*CMSG_DATA(header) = type;
	return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
}

ssize_t nm_tls_receive(int fd, void *buffer, size_t count, uint8_t *type)
{
	union {
		struct cmsghdr align;
		char bytes[CMSG_SPACE(1)];
	} control = { 0 };
	struct iovec vector = { .iov_base = buffer, .iov_len = count };
	struct msghdr message = {
		.msg_iov = &vector, .msg_iovlen = 1, .msg_control = control.bytes, .msg_controllen = sizeof(control.bytes)
	};
	ssize_t received = recvmsg(fd, &message, MSG_DONTWAIT);
	struct cmsghdr *header = received < 0 ? NULL : CMSG_FIRSTHDR(&message);

	*type = 0;
	if (header && header->cmsg_level == SOL_TLS && header->cmsg_type == TLS_GET_RECORD_TYPE)
		*type = *CMSG_DATA(header);
	return received;
}

int nm_tcp_unacknowledged(int fd)
{
	int value = 0;
	return ioctl(fd, SIOCOUTQ, &value) < 0 ? -1 : value;
}

int nm_tcp_acknowledged(int fd, uint64_t *bytes)
{
	/* The C library's struct tcp_info ends before the field: the kernel's has it at byte 120. */
	unsigned char info[256] = { 0 };
	socklen_t size = sizeof(info);

	if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, info, &size) < 0)
		return -1;
	if (size < 128) {
		errno = ENOPROTOOPT;
		return -1;
	}
	memcpy(bytes, info + 120, sizeof(*bytes));
	return 0;
}

int nm_pipe_size(int fd) { return fcntl(fd, F_GETPIPE_SZ); }
