#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a gRPC message frame with an IstioCertificateRequest to standard output.

    sign_request.py CSR_FILE IDENTITY

Field numbers are those of Sources/MeshAPI/proto/ca.proto and google/protobuf/struct.proto.
"""

import struct
import sys


def varint(value):
    out = bytearray()
    while True:
        value, low = value >> 7, value & 0x7F
        out.append(low | (0x80 if value else 0))
        if not value:
            return bytes(out)


def field(number, content):
    return varint(number << 3 | 2) + varint(len(content)) + content


csr = open(sys.argv[1], "rb").read()
value = field(3, sys.argv[2].encode())
entry = field(1, b"ImpersonatedIdentity") + field(2, value)
message = field(1, csr) + field(4, field(1, entry))
sys.stdout.buffer.write(struct.pack("!BI", 0, len(message)) + message)
