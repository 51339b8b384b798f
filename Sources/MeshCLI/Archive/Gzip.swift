// SPDX-License-Identifier: Apache-2.0

import CZlib
import Foundation

/// Compression as gzip does it (RFC 1952).
enum Gzip {
    /// - Throws: when there is no memory for it.
    static func compress(_ data: Data) throws(CLIError) -> Data {
        var stream = z_stream()
        guard nm_gzip_begin(&stream) == Z_OK else { throw CLIError("cannot compress: zlib does not start") }
        defer { deflateEnd(&stream) }
        var input = [UInt8](data)
        var output = [UInt8](repeating: 0, count: Int(deflateBound(&stream, UInt(input.count))) + 64)
        let result = input.withUnsafeMutableBufferPointer { input in
            output.withUnsafeMutableBufferPointer { output in
                stream.next_in = input.baseAddress
                stream.avail_in = UInt32(input.count)
                stream.next_out = output.baseAddress
                stream.avail_out = UInt32(output.count)
                return deflate(&stream, Z_FINISH)
            }
        }
        // There is room for the worst case, so one call does it all.
        guard result == Z_STREAM_END else { throw CLIError("cannot compress: zlib says \(result)") }
        return Data(output.prefix(Int(stream.total_out)))
    }
}
