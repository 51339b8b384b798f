// SPDX-License-Identifier: Apache-2.0
import CLibBPF
import Glibc
import MeshLinux

extension Steering {
    /// What this instance has in the kernel, former states included. Walks pins and maps: milliseconds, more with many
    /// workloads; not for every scrape.
    package func status() throws(SteeringError) -> BPFStatus {
        do throws(SystemError) {
            let links = try self.links()
            var programs: [UInt32: BPFStatus.Program] = [:]
            for (hook, program) in self.programs {
                let info = try BPF.info(ofProgram: program.raw)
                programs[info.id] = BPFStatus.Program(info, hook: BPF.name(of: hook.attachType))
            }
            for (hook, program) in self.nodePrograms {
                let info = try BPF.info(ofProgram: program.raw)
                programs[info.id] = BPFStatus.Program(info, hook: BPF.name(of: hook.attachType))
            }
            for link in links where programs[link.programID] == nil {
                guard let program = try BPF.program(id: link.programID) else { continue }
                programs[link.programID] = BPFStatus.Program(try BPF.info(ofProgram: program.raw), hook: link.hook)
            }
            return BPFStatus(
                programs: programs.values.sorted { $0.id < $1.id }, links: links, maps: try self.mapDetails())
        } catch {
            throw SteeringError(.system, "eBPF status: \(error)")
        }
    }

    private func mapDetails() throws(SystemError) -> [BPFStatus.Map] {
        var maps: [BPFStatus.Map] = []
        for status in self.mapStatus() {
            guard let fd = self.maps.raw(status.name) else { continue }
            let info = try BPF.info(ofMap: fd)
            maps.append(
                BPFStatus.Map(
                    name: status.name, type: BPF.name(ofMapType: info.type), id: info.id, entries: status.entries,
                    capacity: status.capacity, memoryBytes: try Self.memory(ofMap: fd)))
        }
        return maps
    }

    private static func memory(ofMap fd: CInt) throws(SystemError) -> UInt64 {
        let text = try FileTree.text(of: "/proc/self/fdinfo/\(fd)")
        let line = text.split(separator: "\n").first { $0.hasPrefix("memlock:") }
        return line.flatMap { UInt64($0.dropFirst(8).filter { !$0.isWhitespace }) } ?? 0
    }

    private func links() throws(SystemError) -> [BPFStatus.Link] {
        var (links, paths) = ([BPFStatus.Link](), [UInt64: String]())
        let prefix = self.layout.directory + "/"
        var pins: [String] = []
        for state in try FileTree.names(in: self.layout.directory) ?? [] {
            for folder in PinLayout.folders where folder != "maps" {
                try Self.collectPins(prefix + state + "/" + folder, into: &pins)
            }
        }
        for pin in pins {
            guard let link = try BPF.open(pinned: pin) else { continue }
            let info = try BPF.info(ofLink: link.raw)
            let isNamespace = info.type == BPF_LINK_TYPE_NETNS.rawValue
            let (target, isAttached): (String, Bool)
            if info.type == BPF_LINK_TYPE_TRACING.rawValue {
                links.append(
                    BPFStatus.Link(
                        pin: String(pin.dropFirst(prefix.count)), hook: "tracing", target: "reads from sockets",
                        programID: info.prog_id, isAttached: true))
                continue
            }
            if isNamespace {
                (target, isAttached) = ("netns:\(info.netns.netns_ino)", info.netns.netns_ino != 0)
            } else {
                let id = info.cgroup.cgroup_id
                let path = paths[id] ?? (try? Cgroup(id: id).path)
                paths[id] = path
                (target, isAttached) = (path ?? "cgroup:\(id)", path != nil)
            }
            let type = isNamespace ? info.netns.attach_type : info.cgroup.attach_type
            links.append(
                BPFStatus.Link(
                    pin: String(pin.dropFirst(prefix.count)), hook: BPF.name(of: bpf_attach_type(type)), target: target,
                    programID: info.prog_id, isAttached: isAttached))
        }
        return links
    }

    private static func collectPins(_ path: String, into pins: inout [String]) throws(SystemError) {
        guard FileTree.isDirectory(path) else {
            if FileTree.exists(path) { pins.append(path) }
            return
        }
        for name in try FileTree.names(in: path) ?? [] { try Self.collectPins(path + "/" + name, into: &pins) }
    }
}

extension BPFStatus.Program {
    fileprivate init(_ info: bpf_prog_info, hook: String) {
        let tag = withUnsafeBytes(of: info.tag) { Array($0) }
        self.init(
            name: withUnsafeBytes(of: info.name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) },
            id: info.id, tag: tag.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(), hook: hook,
            jitedSize: info.jited_prog_len, verifiedInstructions: info.verified_insns, runCount: info.run_cnt,
            runNanoseconds: info.run_time_ns, loadedAt: Clock.wall &- Clock.sinceBoot &+ info.load_time)
    }
}
