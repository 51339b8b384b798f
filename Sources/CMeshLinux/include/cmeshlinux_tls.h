// SPDX-License-Identifier: Apache-2.0
//
// Kernel TLS (net/tls, Linux 5.1 for TLS 1.3 in both directions, 5.11 for ChaCha20-Poly1305) and what has to be known
// of the TCP below it. As in cmeshlinux.h, every function keeps the contract of the call it wraps; nm_set_ulp_tls in
// cmeshlinux_kernel.h comes before all others.
#pragma once
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/// setsockopt(TLS_TX) or, for `receiving`, setsockopt(TLS_RX): TLS 1.3 records of cipher suite `suite` (RFC 8446 §B.4)
/// from record `sequence` on. `key` has 16 or 32 bytes, `iv` 12.
int nm_tls_install(int fd, int receiving, uint16_t suite, const uint8_t *key, const uint8_t *iv, uint64_t sequence);
/// The number of the next record to be made, from getsockopt(TLS_TX), or for `receiving` of the next to be opened, from
/// getsockopt(TLS_RX). What comes with it, the key, is wiped.
int nm_tls_sequence(int fd, int receiving, uint16_t suite, uint64_t *sequence);
/// sendmsg(2) of one record of another type than application data, never blocking.
ssize_t nm_tls_send_record(int fd, uint8_t type, const void *content, size_t count);
/// recvmsg(2), never blocking: content of records of one type, which is written to `type`; 0: the kernel told none.
ssize_t nm_tls_receive(int fd, void *buffer, size_t count, uint8_t *type);

/// Bytes that TCP has taken and the peer has not acknowledged (SIOCOUTQ).
int nm_tcp_unacknowledged(int fd);
/// Bytes that the peer has acknowledged since the connection began (tcpi_bytes_acked, Linux 4.1).
int nm_tcp_acknowledged(int fd, uint64_t *bytes);
/// F_GETPIPE_SZ.
int nm_pipe_size(int fd);
