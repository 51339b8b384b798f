// SPDX-License-Identifier: Apache-2.0

import MeshAdminAPI

extension LiveConfiguration {
    /// The values in force for people and programs, secrets left out.
    package var summary: ConfigurationSummary {
        let (reading, wanted) = (self.reading, self.wanted)
        let pending = Set(self.pending.map(\.key))
        return ConfigurationSummary(
            program: self.table.program, file: reading.file,
            entries: self.table.keys.map { key in
                .init(
                    key: key.name, values: key.shownValues(of: reading.value) ?? [],
                    origin: reading.origin(of: key.name).description, isLive: key.isLive,
                    pending: pending.contains(key.name) ? key.shownValues(of: wanted.value) ?? [] : nil)
            }, problems: self.problems)
    }
}
