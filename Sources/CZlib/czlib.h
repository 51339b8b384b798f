// SPDX-License-Identifier: Apache-2.0
//
// zlib as Swift sees it; deflateInit2 is a macro, which Swift does not import.
#pragma once
#include <zlib.h>

/// Begins a gzip member (RFC 1952).
static inline int nm_gzip_begin(z_stream *stream)
{
	return deflateInit2(stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY);
}
