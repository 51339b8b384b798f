// SPDX-License-Identifier: Apache-2.0

import Glibc
import MeshLinux
import MeshModel

/// The helper process that the canary is: it enters a cgroup and a network namespace, makes a socket there as any
/// workload does, connects, and says in one word what became of that.
package enum CanaryProcess {
    /// What nodemeshd runs itself with.
    package static let verb = "canary"

    /// - Returns: what to print.
    package static func run(
        cgroup: String, namespace: String, address: SocketAddress, timeout: Int
    ) -> String {
        do throws(SystemError) {
            try Cgroup(path: cgroup).add(pid: getpid())
            try NetworkNamespace(path: namespace).enter()
            switch try ConnectProbe.connect(
                to: address.ip.isIPv4 ? Array(address.ip.bytes16.suffix(4)) : address.ip.bytes16, port: address.port,
                timeout: timeout)
            {
            case .connected: return "connected"
            case .failed(let code): return "errno \(code)"
            }
        } catch {
            return "broken \(error)"
        }
    }

    /// Runs it as a child of this process, blocking the thread.
    static func spawn(
        cgroup: String, namespace: NetworkNamespace, address: SocketAddress, timeout: Int
    ) -> CanaryVerdict.Observation {
        do throws(SystemError) {
            let program = try FileTree.target(of: "/proc/self/exe")
            let result = try ChildProcess.run(
                program,
                [
                    Self.verb, "--cgroup", cgroup, "--namespace", "/proc/\(getpid())/fd/\(namespace.raw)",
                    "--address", address.description, "--timeout", "\(timeout)",
                ], timeout: timeout + 5000)
            let words = result.output.split(separator: "\n").first?.split(separator: " ", maxSplits: 1) ?? []
            switch words.first {
            case "connected": return .connected
            case "errno":
                if words.count == 2, let code = CInt(words[1]) { return .failed(errno: code) }
            case "broken":
                if words.count == 2 { return .broken(String(words[1])) }
            default: break
            }
            return .broken("it ended with \(result.code) and said nothing")
        } catch {
            return .broken("it could not be run: \(error)")
        }
    }
}
