// SPDX-License-Identifier: Apache-2.0
import CLibBPF
import CMeshABI
import Glibc
import Logging
import MeshLinux

// What is written about workloads, so that a later run can take over.
extension Steering {
    /// Reserves a slot for the workload's namespace and writes down what a later run needs. A crash after this leaves a
    /// record without pins, which ``pruneStale()`` removes.
    func record(_ enrolment: Enrolment, cgroup: Cgroup, cookie: UInt64) throws(SteeringError) -> nm_enrolment {
        do throws(SystemError) {
            let records = try self.records()
            let known = records.first { $0.record.netns == cookie }?.record
            let used = Set(records.filter { $0.cgroup != cgroup.id }.map(\.record.slot))
            let capacity = try BPF.info(ofMap: self.maps[.listeners]).max_entries
            guard let slot = known?.slot ?? (0..<capacity).first(where: { !used.contains($0) }) else {
                throw SystemError(call: "nm_listeners", errno: ENOSPC)
            }
            let record = nm_enrolment(
                netns: cookie, netns_inode: enrolment.namespace.inode, key: enrolment.key, slot: slot)
            try BPF.update(map: self.maps[.enrolled], key: cgroup.id, value: record)
            if let former = records.first(where: { $0.cgroup == cgroup.id })?.record, former.netns != cookie {
                // A container started again may have a new namespace in its old cgroup.
                try self.leaveNamespace(former)
            }
            return record
        } catch {
            throw SteeringError(
                error.errno == E2BIG || error.errno == ENOSPC ? .capacity : .system,
                "workload \(enrolment.id): \(error); raise the capacity for workloads if the map is full")
        }
    }

    /// What is written in `nm_enrolled`.
    func records() throws(SystemError) -> [(cgroup: UInt64, record: nm_enrolment)] {
        var records: [(cgroup: UInt64, record: nm_enrolment)] = []
        for cgroup in try BPF.keys(map: self.maps[.enrolled], empty: UInt64(0)) {
            if let record = try BPF.lookup(map: self.maps[.enrolled], key: cgroup, empty: nm_enrolment()) {
                records.append((cgroup, record))
            }
        }
        return records
    }

    /// Detaches everything from a cgroup and its namespace and frees its records. Goes on after errors, which it logs.
    func forget(cgroup: UInt64, _ record: nm_enrolment) {
        let directory = self.layout.workload(cgroup)
        let steps: [(String, () throws(SystemError) -> Void)] = [
            // connect4 and connect6 go first: while the rest goes, nothing new is captured.
            ("connect4", { () throws(SystemError) in try BPF.removeLinks(directory + "/connect4") }),
            ("connect6", { () throws(SystemError) in try BPF.removeLinks(directory + "/connect6") }),
            ("links", { () throws(SystemError) in try BPF.removeLinks(directory) }),
            ("links", { () throws(SystemError) in try BPF.removeLinks(directory + "-new") }),
            ("record", { () throws(SystemError) in try BPF.delete(map: self.maps[.enrolled], key: cgroup) }),
            ("namespace", { () throws(SystemError) in try self.leaveNamespace(record) }),
            ("ports", { () throws(SystemError) in try self.forgetPorts(of: record) }),
            ("connections", { () throws(SystemError) in try self.forgetConnections(of: record.key) }),
            ("exclusions", { () throws(SystemError) in try Exclusions().write(of: record.key, to: self.maps) }),
            ("fail mode", { () throws(SystemError) in try self.setFailsOpen(false, key: record.key) }),
        ]
        for (name, step) in steps {
            do throws(SystemError) {
                try step()
            } catch {
                self.logger.error(
                    "cannot detach completely",
                    metadata: ["bpf.part": "\(name)", "cgroup.id": "\(cgroup)", "error": "\(error)"])
            }
        }
        // The storage may outlive the links: nothing of it may count when the cgroup is enrolled again.
        try? BPF.update(map: self.maps[.workloads], key: cgroup, value: nm_workload())
    }

    /// With its sockops gone, nobody removes what the workload's own connects have announced.
    private func forgetConnections(of key: UInt32) throws(SystemError) {
        let map = self.maps[.direct]
        for flow in try BPF.keys(map: map, empty: nm_flow_key()) {
            let value = try BPF.lookup(map: map, key: flow, empty: nm_direct_flow())
            if let value, value.source == key, value.kind == UInt16(NM_FLOW_LOCAL) {
                try BPF.delete(map: map, key: flow)
            }
        }
    }
}
