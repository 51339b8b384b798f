// SPDX-License-Identifier: Apache-2.0

internal import MeshModel

/// A line of the access log on its way out, and what it is about.
struct AccessLogText {
    /// Ends with a line feed.
    var text: String
    /// nil: it tells of the log itself.
    var entry: (event: AccessLogSettings.Event, record: ConnectionRecord)?
}

/// Where lines go. Used by the log's thread alone; may take its time, but not for ever where that can be helped.
protocol AccessLogSink: AnyObject {
    /// Writes lines in order.
    ///
    /// - Returns: how many of them, from the first, are written as a whole.
    func write(_ lines: [AccessLogText]) -> Int
    /// Begins anew under the same name.
    func reopen()
}
