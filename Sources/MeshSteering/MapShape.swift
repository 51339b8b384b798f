// SPDX-License-Identifier: Apache-2.0
import CLibBPF

/// What has to agree before a pinned map is adopted.
struct MapShape: Hashable, Sendable {
    let name: String
    let type: UInt32
    let keySize: UInt32
    let valueSize: UInt32

    func matches(_ info: bpf_map_info) -> Bool {
        self.type == info.type && self.keySize == info.key_size && self.valueSize == info.value_size
    }
}
