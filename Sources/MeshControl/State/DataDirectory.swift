// SPDX-License-Identifier: Apache-2.0

import Foundation
@preconcurrency import Glibc
import MeshModel
import MeshStore

/// The control plane's directory: one process at a time holds it.
package final class DataDirectory: Sendable {
    /// Where virtual addresses come from: 240.240.0.0/16, which is never routed, and the unique local prefix (RFC 4193)
    /// fd6e:6d65:7368::/64.
    package static let virtualPrefixes = [
        IPPrefix(IPAddress(ipv4: 0xf0f0_0000), length: 16),
        IPPrefix(IPAddress(high: 0xfd6e_6d65_7368_0000, low: 0), length: 64),
    ]

    package let path: String
    private let lock: CInt

    package var databasePath: String { self.path + "/control.db" }
    package var adminTokenPath: String { self.path + "/admin.token" }

    /// Makes the directory if need be and takes its lock, which the kernel gives back when the process ends.
    package init(_ path: String) throws {
        self.path = path
        try PrivateFile.prepareDirectory(path)
        let name = path + "/lock"
        try PrivateFile.prepare(name)
        let lock = open(name, O_RDWR | O_CLOEXEC)
        guard lock >= 0 else {
            throw ControlError("cannot open \(name): \(String(cString: strerror(errno)))")
        }
        guard flock(lock, LOCK_EX | LOCK_NB) == 0 else {
            close(lock)
            throw ControlError(
                "\(path) is in use by another nodemesh-control: stop that one, or give this one its own --data-dir")
        }
        // Last: an initializer that throws after its last property is set runs `deinit`, which closes it again.
        self.lock = lock
    }

    deinit { close(self.lock) }

    package func openStore() throws -> Store {
        try Store(path: self.databasePath, virtualPrefixes: Self.virtualPrefixes)
    }

    /// The token that operators present; made at the first start.
    package func adminToken() throws -> String {
        if let bytes = try PrivateFile.read(self.adminTokenPath, limit: 4096) {
            try PrivateFile.prepare(self.adminTokenPath)
            let token = String(decoding: bytes, as: UTF8.self).trimmingCharacters(in: .whitespacesAndNewlines)
            guard token.utf8.count >= 16, token.utf8.allSatisfy({ (33...126).contains($0) }) else {
                throw ControlError(
                    "\(self.adminTokenPath) holds no usable token: write one of at least 16 printable characters, or "
                        + "delete the file to get a new one")
            }
            return token
        }
        let token = Secret.make()
        try PrivateFile.write((token + "\n").utf8, to: self.adminTokenPath)
        return token
    }

    /// The files of the mesh's authorities in it.
    package var authorities: AuthorityFiles { AuthorityFiles(directory: self.path) }
}

extension IPPrefix {
    /// For a constant whose length fits its family; else the host prefix.
    fileprivate init(_ address: IPAddress, length: Int) {
        self = IPPrefix(address: address, length: length) ?? IPPrefix(address)
    }
}
