// SPDX-License-Identifier: Apache-2.0
//
// AES-GCM of Intel's multi-buffer library (libipsec-mb), which seals several times faster than OpenSSL 3.0 where the
// processor has vector AES. The library is optional twice: without its header this builds to "not there", and it is
// loaded at run time, never linked.
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/// Loads the library, once per process. NULL when it can be used, else why not.
const char *nm_ipsecmb_load(void);

// The functions of an AEAD provider for the suites 0x1301 and 0x1302; only after nm_ipsecmb_load() gave NULL.
void *nm_ipsecmb_create(uint16_t suite, const uint8_t *key);
bool nm_ipsecmb_seal(void *context, const uint8_t *nonce, const uint8_t *header, uint8_t *data, long count);
bool nm_ipsecmb_open(void *context, const uint8_t *nonce, const uint8_t *header, uint8_t *data, long count);
void nm_ipsecmb_destroy(void *context);
