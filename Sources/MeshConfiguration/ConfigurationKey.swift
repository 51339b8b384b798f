// SPDX-License-Identifier: Apache-2.0

/// One key of a daemon's configuration: everything that is known about it stands here and nowhere else.
package struct ConfigurationKey<Configuration: Sendable>: Sendable {
    package enum Shape: Sendable {
        case single
        case list
        /// `name: value` lines in the file, `name=value` elsewhere.
        case map
    }

    /// As in the file, in camel case.
    package let name: String
    /// One or more sentences for the reference, without a full stop at the end.
    package let help: String
    /// The form of a value, or of each item, see ``ValueKind/allowed``.
    package let allowed: String
    package let shape: Shape
    /// The default in words, where its value does not say it.
    package let defaultText: String?
    /// An option of its own on the daemon's command line, without dashes; nil: `--set KEY=VALUE` only.
    package let flag: String?
    /// A reload takes it over; otherwise a restart does.
    package let isLive: Bool
    /// Never shown.
    package let isSecret: Bool

    /// Sets the value, or adds an item; says what is wrong with it otherwise.
    let set: @Sendable (inout Configuration, _ value: String) -> String?
    /// Makes a list or a map empty.
    let clear: @Sendable (inout Configuration) -> Void
    let values: @Sendable (Configuration) -> [String]?
    let copy: @Sendable (_ from: Configuration, _ to: inout Configuration) -> Void

    /// What a key has beside its name and values.
    package struct Traits: Sendable {
        package var defaultText: String?
        package var flag: String?
        package var isLive = false
        package var isSecret = false

        package static var live: Self { Self(isLive: true) }

        package init(
            defaultText: String? = nil, flag: String? = nil, isLive: Bool = false, isSecret: Bool = false
        ) {
            self.defaultText = defaultText
            self.flag = flag
            self.isLive = isLive
            self.isSecret = isSecret
        }
    }

    private init<Value>(
        _ name: String, _ shape: Shape, _ kind: ValueKind<Value>, _ traits: Traits, _ help: String,
        store: @escaping @Sendable (inout Configuration, Value) -> Void,
        clear: @escaping @Sendable (inout Configuration) -> Void,
        values: @escaping @Sendable (Configuration) -> [String]?,
        copy: @escaping @Sendable (Configuration, inout Configuration) -> Void
    ) {
        self.name = name
        self.help = help
        self.allowed = kind.allowed
        self.shape = shape
        self.defaultText = traits.defaultText
        self.flag = traits.flag
        self.isLive = traits.isLive
        self.isSecret = traits.isSecret
        let shown = { @Sendable (text: String) in traits.isSecret ? "the value (not shown)" : "'\(text)'" }
        self.set = { configuration, text in
            guard let value = kind.parse(text) else { return "\(shown(text)) is not \(kind.allowed)" }
            if let objection = kind.objection(value) { return "\(shown(text)) \(objection)" }
            store(&configuration, value)
            return nil
        }
        self.clear = clear
        self.values = values
        self.copy = copy
    }

    /// A key that always has one value.
    package static func single<Value>(
        _ name: String, _ path: any WritableKeyPath<Configuration, Value> & Sendable, _ kind: ValueKind<Value>,
        _ traits: Traits = .init(), help: String
    ) -> Self {
        Self(
            name, .single, kind, traits, help, store: { $0[keyPath: path] = $1 }, clear: { _ in },
            values: { [kind.text($0[keyPath: path])] }, copy: { $1[keyPath: path] = $0[keyPath: path] })
    }

    /// A key that may have no value.
    package static func optional<Value>(
        _ name: String, _ path: any WritableKeyPath<Configuration, Value?> & Sendable, _ kind: ValueKind<Value>,
        _ traits: Traits = .init(), help: String
    ) -> Self {
        Self(
            name, .single, kind, traits, help, store: { $0[keyPath: path] = $1 }, clear: { _ in },
            values: { $0[keyPath: path].map { [kind.text($0)] } }, copy: { $1[keyPath: path] = $0[keyPath: path] })
    }

    /// A key with any number of values, each once.
    package static func list<Value: Equatable>(
        _ name: String, _ path: any WritableKeyPath<Configuration, [Value]> & Sendable, _ kind: ValueKind<Value>,
        _ traits: Traits = .init(), help: String
    ) -> Self {
        Self(
            name, .list, kind, traits, help,
            store: { if !$0[keyPath: path].contains($1) { $0[keyPath: path].append($1) } },
            clear: { $0[keyPath: path] = [] }, values: { $0[keyPath: path].map(kind.text) },
            copy: { $1[keyPath: path] = $0[keyPath: path] })
    }

    /// A list that may be absent, which is another thing than empty.
    package static func optionalList<Value: Equatable>(
        _ name: String, _ path: any WritableKeyPath<Configuration, [Value]?> & Sendable, _ kind: ValueKind<Value>,
        _ traits: Traits = .init(), help: String
    ) -> Self {
        Self(
            name, .list, kind, traits, help,
            store: { configuration, value in
                let present = configuration[keyPath: path] ?? []
                if !present.contains(value) { configuration[keyPath: path] = present + [value] }
            },
            clear: { $0[keyPath: path] = [] }, values: { $0[keyPath: path]?.map(kind.text) },
            copy: { $1[keyPath: path] = $0[keyPath: path] })
    }

    /// A key whose values have names; its kind is that of `name=value`.
    package static func map<Value>(
        _ name: String, _ path: any WritableKeyPath<Configuration, [String: Value]> & Sendable,
        _ kind: ValueKind<MapEntry<Value>>, _ traits: Traits = .init(), help: String
    ) -> Self {
        Self(
            name, .map, kind, traits, help, store: { $0[keyPath: path][$1.name] = $1.value },
            clear: { $0[keyPath: path] = [:] },
            values: { configuration in
                configuration[keyPath: path].sorted { $0.key < $1.key }.map { kind.text(.init(name: $0, value: $1)) }
            }, copy: { $1[keyPath: path] = $0[keyPath: path] })
    }

    /// The flag that sets it, as an operator types it.
    package var flagText: String { self.flag.map { "--\($0)" } ?? "--set \(self.name)" }

    /// Of this configuration; nil: not set. Secrets are not in it.
    package func shownValues(of configuration: Configuration) -> [String]? {
        self.values(configuration).map { self.isSecret ? $0.map { _ in "(redacted)" } : $0 }
    }

    /// ``shownValues(of:)`` as one text; empty when not set.
    package func shownText(of configuration: Configuration) -> String {
        self.shownValues(of: configuration)?.joined(separator: ",") ?? ""
    }

    func isEqual(_ left: Configuration, _ right: Configuration) -> Bool { self.values(left) == self.values(right) }
}

/// One named value of a ``ConfigurationKey/Shape/map``.
package struct MapEntry<Value: Sendable>: Sendable {
    package let name: String
    package let value: Value

    package init(name: String, value: Value) {
        self.name = name
        self.value = value
    }
}
