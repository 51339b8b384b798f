// SPDX-License-Identifier: Apache-2.0

import Foundation

/// `GET /v1/logs/levels` of either daemon.
package struct LogLevelSummary: Codable, Sendable, Hashable {
    package struct Component: Codable, Sendable, Hashable {
        package var component: String
        package var level: String
        /// Not what the configuration says.
        package var isChanged: Bool
        /// When it is the configuration's again; nil: not by itself.
        package var until: Date?

        package init(component: String, level: String, isChanged: Bool, until: Date?) {
            self.component = component
            self.level = level
            self.isChanged = isChanged
            self.until = until
        }
    }

    package var configured: String
    package var components: [Component]

    package init(configured: String, components: [Component]) {
        self.configured = configured
        self.components = components
    }
}

/// `POST /v1/logs/levels` of either daemon; answered with a ``LogLevelSummary``.
package struct LogLevelRequest: Codable, Sendable, Hashable {
    /// nil: every component that has no level of its own.
    package var component: String?
    /// nil: what the configuration says.
    package var level: String?
    /// Until that ends; nil: never.
    package var seconds: Int?

    package init(component: String?, level: String?, seconds: Int?) {
        self.component = component
        self.level = level
        self.seconds = seconds
    }
}

/// `GET /v1/logs/lines` of either daemon: one of its latest lines.
package struct LogLine: Codable, Sendable, Hashable {
    package var time: Date
    package var level: String
    /// nil: the daemon's own.
    package var component: String?
    package var message: String
    package var metadata: [String: String]

    package init(time: Date, level: String, component: String?, message: String, metadata: [String: String]) {
        self.time = time
        self.level = level
        self.component = component
        self.message = message
        self.metadata = metadata
    }
}
