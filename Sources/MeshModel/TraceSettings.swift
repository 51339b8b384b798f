// SPDX-License-Identifier: Apache-2.0

/// Where traces of connections go, and how many of them.
package struct TraceSettings: Sendable, Hashable {
    /// The base address of a collector that speaks OTLP over HTTP, as in `OTEL_EXPORTER_OTLP_ENDPOINT`.
    package struct Endpoint: Sendable, Hashable, LosslessStringConvertible {
        package let description: String

        /// `http://host[:port][/path]` or `https://…`.
        package init?(_ text: String) {
            let scheme = ["http://", "https://"].first { text.hasPrefix($0) }
            guard let scheme else { return nil }
            let rest = text.dropFirst(scheme.count)
            let host = rest.prefix { $0 != "/" }
            guard !host.isEmpty, host.first != ":", !text.contains(where: { $0.isWhitespace || "?#@".contains($0) })
            else { return nil }
            self.description = text
        }

        package var isSecure: Bool { self.description.hasPrefix("https://") }

        /// Where trace requests are posted to.
        package var tracesURL: String {
            var base = self.description[...]
            while base.last == "/" { base = base.dropLast() }
            return base.hasSuffix("/v1/traces") ? String(base) : base + "/v1/traces"
        }
    }

    package struct Header: Sendable, Hashable, LosslessStringConvertible {
        package var name: String
        package var value: String

        package var description: String { "\(self.name)=\(self.value)" }

        /// `NAME=VALUE`, as in `OTEL_EXPORTER_OTLP_HEADERS`.
        package init?(_ text: String) {
            let parts = text.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            let isName = parts[0].utf8.allSatisfy { byte in
                (48...57).contains(byte) || (65...90).contains(byte) || (97...122).contains(byte)
                    || "!#$%&'*+-.^_`|~".utf8.contains(byte)
            }
            guard parts.count == 2, !parts[0].isEmpty, isName, parts[1].utf8.allSatisfy({ $0 >= 32 && $0 != 127 })
            else { return nil }
            (self.name, self.value) = (String(parts[0]), String(parts[1]))
        }
    }

    package var endpoint: Endpoint
    /// The share of connections whose spans are sent, 0 to 1. The dialling node chooses; the accepting one follows.
    package var sampling: Double
    package var headers: [Header]
    /// PEM files: whom to trust instead of the system's roots, and what to identify with.
    package var authoritiesFile: String?
    package var certificateFile: String?
    package var keyFile: String?

    package init(
        endpoint: Endpoint, sampling: Double = 1, headers: [Header] = [], authoritiesFile: String? = nil,
        certificateFile: String? = nil, keyFile: String? = nil
    ) {
        self.endpoint = endpoint
        self.sampling = sampling
        self.headers = headers
        self.authoritiesFile = authoritiesFile
        self.certificateFile = certificateFile
        self.keyFile = keyFile
    }
}
