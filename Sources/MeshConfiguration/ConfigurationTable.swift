// SPDX-License-Identifier: Apache-2.0

/// Every key of one daemon's configuration, and how it is put together. The reader, the reload, `config show`,
/// `config validate`, the reference and the default file all come from it.
package struct ConfigurationTable<Configuration: Sendable>: Sendable {
    /// Keys that belong together, under a heading of the reference.
    package struct Section: Sendable {
        package let title: String
        package let keys: [ConfigurationKey<Configuration>]

        package init(_ title: String, _ keys: [ConfigurationKey<Configuration>]) {
            self.title = title
            self.keys = keys
        }
    }

    /// The daemon's program.
    package let program: String
    /// Read when it is there and no file is named.
    package let file: String
    /// Of the environment variables that set keys.
    package let variablePrefix: String
    /// Variables with that prefix that mean something else.
    package let otherVariables: Set<String>
    package let sections: [Section]
    /// Where nothing is given.
    package let defaults: Configuration
    /// Faults between keys.
    let check: @Sendable (Configuration) -> [String]

    package init(
        program: String, file: String, variablePrefix: String, otherVariables: Set<String> = [],
        defaults: Configuration, sections: [Section],
        check: @escaping @Sendable (Configuration) -> [String]
    ) {
        self.program = program
        self.file = file
        self.variablePrefix = variablePrefix
        self.otherVariables = otherVariables
        self.defaults = defaults
        self.sections = sections
        self.check = check
    }

    package var keys: [ConfigurationKey<Configuration>] { self.sections.flatMap(\.keys) }

    package func key(_ name: String) -> ConfigurationKey<Configuration>? { self.keys.first { $0.name == name } }

    /// The environment variable of a key: `NODEMESHD_LOG_LEVEL` for `logLevel`.
    package func variable(of key: ConfigurationKey<Configuration>) -> String {
        self.variablePrefix
            + key.name.reduce(into: "") { text, character in
                text += (character.isUppercase ? "_" : "") + character.uppercased()
            }
    }

    /// Key and value, secrets left out.
    package func description(of configuration: Configuration) -> [String: String] {
        .init(self.keys.map { ($0.name, $0.shownText(of: configuration)) }) { first, _ in first }
    }

    /// Puts a configuration together; flags win over the environment, which wins over the file. A list from one source
    /// replaces that of a weaker one.
    ///
    /// - Parameter base: what holds where nothing is given; nil: ``defaults``.
    /// - Throws: every fault of every source.
    package func read(
        _ sources: ConfigurationSources, base: Configuration? = nil
    ) throws(ConfigurationError) -> ConfigurationReading<Configuration> {
        var reader = ConfigurationReader(table: self, configuration: base ?? self.defaults)
        reader.apply(sources)
        return try reader.finish()
    }
}
