// SPDX-License-Identifier: Apache-2.0
//
// Sockets that try whether TCP gets from one network namespace to another. As in cmeshlinux.h, every function keeps the
// contract of the call it wraps.
#pragma once
#include "cmeshlinux_diag.h"

/// A non-blocking TCP socket bound to an address, on a port of the kernel's choice.
int nm_path_socket(const uint8_t ip[16]);
/// Its address and port.
int nm_path_name(int fd, struct nm_diag_end *end);
int nm_path_listen(int fd);
/// Connects and waits for the outcome, at most so many milliseconds (ETIMEDOUT).
int nm_path_connect(int fd, const struct nm_diag_end *end, int milliseconds);
/// Waits for a connection; writes whose it is.
int nm_path_accept(int fd, struct nm_diag_end *peer, int milliseconds);
