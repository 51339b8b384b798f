// SPDX-License-Identifier: Apache-2.0

/// Bounds on what either side of a discovery stream takes from the other.
package struct DiscoveryLimits: Sendable, Hashable {
    /// Names in one request or response, and names one client may subscribe to in one type.
    package var names = 1_000_000
    /// Bytes of a resource's name.
    package var nameBytes = 1024
    /// Resources a client keeps of one type.
    package var resources = 1_000_000
    /// Bytes of one resource.
    package var resourceBytes = 4 << 20
    /// A server ends a response before it grows beyond this many bytes of resources and names; one larger resource
    /// travels alone.
    package var responseBytes = 1 << 20
    /// Bytes of one message on the wire.
    package var messageBytes = 16 << 20
    /// Streams a server holds at once.
    package var streams = 20_000
    /// Of them, those of one client: one, and those of a connection whose end was not noticed yet.
    package var streamsPerPeer = 8
    /// Changes a table remembers; a stream that fell further behind compares everything.
    package var logLength = 4096

    package init() {}
}
