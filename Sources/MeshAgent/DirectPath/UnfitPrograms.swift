// SPDX-License-Identifier: Apache-2.0

import MeshLinux

/// Programs that lose data, or send it unencrypted, when their sockets are in a socket map: those that move bytes by
/// `splice(2)` or hand their sockets to kernel TLS.
enum UnfitPrograms {
    /// Names of executables; README.md lists them too.
    static let names: Set<String> = [
        "caddy", "envoy", "haproxy", "nginx", "traefik",
        // Kernel TLS or splice(2) by option, or in modules.
        "angie", "apache2", "httpd", "openresty", "socat", "squid", "tengine", "varnishd",
    ]

    /// Such a program in a cgroup or below it; nil when there is none.
    static func first(in cgroup: String) -> String? {
        guard let tree = try? Cgroup(path: cgroup).tree() else { return nil }
        for process in tree.flatMap({ (try? $0.processes()) ?? [] }) {
            guard let path = try? FileTree.target(of: "/proc/\(process)/exe") else { continue }
            // An executable that was replaced while it runs.
            let file = path.hasSuffix(" (deleted)") ? String(path.dropLast(10)) : path
            let name = String(file.split(separator: "/").last ?? "")
            if Self.names.contains(name) { return name }
        }
        return nil
    }
}
