// SPDX-License-Identifier: Apache-2.0
//
// What a process asks of descriptors that another one has given it. As in cmeshlinux.h, every function keeps the contract
// of the call it wraps.
#pragma once
#include <stdint.h>

/// Bytes that can be read at once (FIONREAD).
int nm_unread_bytes(int fd);
/// SO_ACCEPTCONN: 1 for a listening socket.
int nm_is_listening(int fd);
