// SPDX-License-Identifier: Apache-2.0
import Glibc

/// Finds the cgroup of what an operator knows by another name: a systemd unit, a container, a pod.
package struct CgroupLocator: Sendable {
    /// Why nothing was found, in words for the operator.
    package struct Failure: Error, Equatable, CustomStringConvertible {
        package let description: String
    }

    /// What a unit's name leads to.
    package struct Unit: Equatable, Sendable {
        /// The cgroup's directory, which need not be there.
        package let path: String
        package let isThere: Bool
    }

    private let mount: String
    /// Runs systemctl; a test gives its own. nil output: there is no systemd.
    private let systemctl: @Sendable ([String]) -> ChildProcess.Result?

    package init() throws(SystemError) {
        self.init(mount: try Cgroup.mountPoint()) { arguments in
            // systemd's own sign that it runs this machine, see sd_booted(3).
            guard FileTree.isDirectory("/run/systemd/system") else { return nil }
            for path in ["/usr/bin/systemctl", "/bin/systemctl"] where FileTree.exists(path) {
                return try? ChildProcess.run(path, arguments, timeout: 5000)
            }
            return nil
        }
    }

    package init(mount: String, systemctl: @escaping @Sendable ([String]) -> ChildProcess.Result?) {
        self.mount = mount
        self.systemctl = systemctl
    }

    // MARK: Units

    private static let suffixes = [".service", ".slice", ".scope", ".socket", ".mount", ".swap"]

    /// The cgroup of a systemd service, slice or scope; `redis` is `redis.service`. Where there is no systemd, a
    /// directory of that name below the mount, of which there must be one.
    package func unit(_ name: String) throws(Failure) -> Unit {
        let name = Self.suffixes.contains(where: name.hasSuffix) ? name : name + ".service"
        guard !name.hasPrefix("-"), !name.hasPrefix("."), name.utf8.count <= 255,
            name.utf8.allSatisfy({ $0 > 32 && $0 < 127 && $0 != UInt8(ascii: "/") })
        else {
            throw Failure(description: "'\(name)' is not the name of a systemd unit, such as redis.service")
        }
        if let answer = self.systemctl(["show", "--property=ControlGroup,Slice,LoadState", "--", name]),
            answer.code == 0
        {
            return try self.unit(name, in: answer.output)
        }
        let found = self.directories { $0 == name }
        guard let path = found.first else {
            throw Failure(
                description: "no systemd answers here, and there is no cgroup called \(name) below \(self.mount);"
                    + " start it, or give its cgroup")
        }
        guard found.count == 1 else {
            throw Failure(
                description: "\(found.count) cgroups are called \(name): \(found.prefix(4).joined(separator: ", "));"
                    + " give the cgroup of the one you mean")
        }
        return Unit(path: path, isThere: true)
    }

    private func unit(_ name: String, in text: String) throws(Failure) -> Unit {
        var values: [Substring: Substring] = [:]
        for line in text.split(separator: "\n") {
            let parts = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if parts.count == 2 { values[parts[0]] = parts[1] }
        }
        if let path = values["ControlGroup"], path.hasPrefix("/"), path != "/" {
            return Unit(path: self.mount + path, isThere: FileTree.isDirectory(self.mount + path))
        }
        guard values["LoadState"] != "not-found" else {
            throw Failure(
                description: "systemd knows no unit \(name); 'systemctl list-units' shows those that there are")
        }
        // It does not run: this is where it will.
        let parent = name.hasSuffix(".slice") ? nil : values["Slice"].map(String.init)
        let path = Self.path(ofSlice: parent ?? (name.hasSuffix(".slice") ? name : "system.slice"))
        return Unit(
            path: name.hasSuffix(".slice") ? "\(self.mount)/\(path)" : "\(self.mount)/\(path)/\(name)", isThere: false)
    }

    /// `a-b.slice` lies in `a.slice` (systemd.slice(5)).
    static func path(ofSlice name: String) -> String {
        guard name != "-.slice", name.hasSuffix(".slice") else { return "" }
        let parts = name.dropLast(".slice".count).split(separator: "-")
        return parts.indices.map { parts[...$0].joined(separator: "-") + ".slice" }.joined(separator: "/")
    }

    // MARK: Containers and pods

    /// The cgroup of a container by its id, as docker, containerd, podman and CRI-O name them, with either cgroup
    /// driver. At least twelve digits of the id, as `docker ps` shows it.
    package func container(_ id: String) throws(Failure) -> String {
        guard (12...64).contains(id.utf8.count), id.utf8.allSatisfy(Self.isHex) else {
            throw Failure(
                description: "'\(id)' is not a container's id: 12 to 64 hexadecimal digits, lower case;"
                    + " 'docker inspect --format {{.Id}} NAME' or 'crictl ps' tell it")
        }
        let found = self.directories { name in
            Self.containerID(in: name).map { $0.hasPrefix(id) } ?? false
        }
        return try Self.only(found, "container \(id)", below: self.mount)
    }

    /// The id in the name of a container's directory: `<id>`, `docker-<id>.scope`, `cri-containerd-<id>.scope`,
    /// `crio-<id>.scope`, `libpod-<id>.scope`, `libpod-<id>`, `nerdctl-<id>.scope`; nil when it is none. What watches a
    /// container (`crio-conmon-`, `libpod-conmon-`) is not the container.
    static func containerID(in name: String) -> Substring? {
        var rest = name[...]
        if rest.hasSuffix(".scope") { rest = rest.dropLast(".scope".count) }
        let id = rest.lastIndex(of: "-").map { rest[rest.index(after: $0)...] } ?? rest
        guard id.utf8.count == 64, id.utf8.allSatisfy(Self.isHex), !rest.contains("conmon") else { return nil }
        return id
    }

    /// The cgroup of a Kubernetes pod by its UID: `pod<uid>` of the cgroupfs driver, `kubepods-…pod<uid>.slice` of the
    /// systemd driver, where the UID's dashes are underscores.
    package func pod(uid: String) throws(Failure) -> String {
        let uid = uid.lowercased()
        let lengths = uid.split(separator: "-", omittingEmptySubsequences: false).map(\.utf8.count)
        // Static pods have the hash of their manifest instead.
        let isHash = uid.utf8.count == 32 && !uid.contains("-")
        guard lengths == [8, 4, 4, 4, 12] || isHash, uid.utf8.allSatisfy({ Self.isHex($0) || $0 == UInt8(ascii: "-") })
        else {
            throw Failure(
                description: "'\(uid)' is not a pod's UID;"
                    + " \"kubectl get pod NAME -o jsonpath='{.metadata.uid}'\" tells it")
        }
        let escaped = String(uid.map { $0 == "-" ? "_" : $0 })
        let found = self.directories { name in
            name == "pod\(uid)" || (name.hasPrefix("kubepods") && name.hasSuffix("-pod\(escaped).slice"))
        }
        return try Self.only(found, "pod \(uid)", below: self.mount)
    }

    private static func only(_ found: [String], _ what: String, below mount: String) throws(Failure) -> String {
        guard let path = found.first else {
            throw Failure(description: "no cgroup below \(mount) belongs to \(what); does it run on this node?")
        }
        guard found.count == 1 else {
            throw Failure(
                description: "\(found.count) cgroups match \(what): \(found.prefix(4).joined(separator: ", "));"
                    + " give more of the id, or the cgroup")
        }
        return path
    }

    private static func isHex(_ byte: UInt8) -> Bool { (48...57).contains(byte) || (97...102).contains(byte) }

    /// Directories below the mount whose name fits; what is below one that fits is not looked at.
    private func directories(where fits: (String) -> Bool) -> [String] {
        var (found, queue, next) = ([String](), [self.mount], 0)
        // A host has some thousands; a loop there cannot be.
        while next < queue.count, queue.count < 100_000 {
            let parent = queue[next]
            next += 1
            for name in Cgroup.children(of: parent) {
                if fits(name) { found.append(parent + "/" + name) } else { queue.append(parent + "/" + name) }
            }
        }
        return found
    }
}
