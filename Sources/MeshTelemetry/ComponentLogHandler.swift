// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshAdminAPI

/// Passes on the lines of one component as its level says at the time.
struct ComponentLogHandler: LogHandler {
    /// Of the metadata that names a logger's component.
    static let key = "component"

    private var inner: any LogHandler
    private let levels: LogLevels
    private var component: LogLevels.Component
    private var name: String?
    /// Set where a library is to say less than the rest.
    private var floor: Logger.Level?

    init(inner: any LogHandler, levels: LogLevels, component: LogLevels.Component) {
        self.inner = inner
        self.levels = levels
        self.component = component
        self.inner.logLevel = .trace
    }

    var logLevel: Logger.Level {
        get { max(self.component.level, self.floor ?? .trace) }
        set { self.floor = newValue }
    }

    var metadata: Logger.Metadata {
        get { self.inner.metadata }
        set { self.inner.metadata = newValue }
    }

    var metadataProvider: Logger.MetadataProvider? {
        get { self.inner.metadataProvider }
        set { self.inner.metadataProvider = newValue }
    }

    subscript(metadataKey key: String) -> Logger.Metadata.Value? {
        get { self.inner[metadataKey: key] }
        set {
            self.inner[metadataKey: key] = newValue
            guard key == Self.key, let newValue else { return }
            self.name = "\(newValue)"
            self.component = self.levels.component(named: "\(newValue)")
        }
    }

    func log(event: LogEvent) {
        let metadata = (event.metadata ?? [:]).merging(self.inner.metadata) { own, _ in own }
        self.levels.keep(
            LogLine(
                time: Date(), level: event.level.rawValue, component: self.name, message: "\(event.message)",
                metadata: metadata.filter { $0.key != Self.key }.mapValues { "\($0)" }))
        self.inner.log(event: event)
    }
}
