// SPDX-License-Identifier: Apache-2.0
import CLibBPF
import CMeshABI
import MeshLinux
import MeshModel
import Synchronization

// What the programs would decide, for people who ask. Programs of this type cannot be run for a trial, so the order of
// their questions stands here again (`nm_decide` in connect.h, `nm_inbound`); the answers are those in the kernel's maps.
extension Steering {
    /// - Returns: nil when no workload is enrolled under that key.
    package func course(of key: UInt32, to destination: SocketAddress) throws(SteeringError) -> ConnectCourse? {
        guard let entry = self.state.withLock({ $0.enrolled[key] }) else { return nil }
        do throws(SystemError) {
            let stored = try BPF.lookup(map: self.maps[.workloads], key: entry.cgroup.id, empty: nm_workload())
            let workload = stored ?? nm_workload()
            let hasListener = try self.hasListener(workload.slot)
            func course(
                _ reason: Reason?, _ targets: [SocketAddress] = [], isShared: Bool = false
            ) -> ConnectCourse {
                ConnectCourse(
                    reason: reason, targets: targets, isShared: isShared, hasListener: hasListener,
                    failsOpen: workload.failsOpen)
            }

            let ip = destination.ip
            let isOwnPort =
                destination.port == self.configuration.outboundPort
                || destination.port == self.configuration.inboundPort
            let isSelf = workload.owns(ip)
            // Names come first, wherever the resolver is.
            if destination.port == 53, workload.flags & UInt32(NM_WORKLOAD_DNS) != 0,
                try !self.isExcluded(workload, destination)
            {
                let family: UInt32 = ip.isIPv4 ? 0 : 1
                let listener = try BPF.lookup(
                    map: self.maps[.resolvers], key: workload.slot * 2 + family, empty: UInt64(0))
                if ip.isLinkLocal, !ip.isIPv4 { return course(.dnsLeft) }
                return course(listener != nil ? .dnsCaptured : .dnsFailedOpen)
            }
            if ip.isLoopback || ip.isUnspecified { return course(isOwnPort ? .capturePortRefused : nil) }
            if isOwnPort, isSelf { return course(.capturePortRefused) }
            guard try self.isInMesh(ip) else { return course(nil) }
            if destination.isNeverMeshed { return course(.outboundExcluded) }
            guard workload.flags & UInt32(NM_WORKLOAD_ACTIVE) != 0 else { return course(.inactiveRefused) }
            if isSelf, !self.isForAnother(workload, destination.port) { return course(.selfBypassed) }
            if try self.isExcluded(workload, destination) { return course(.outboundExcluded) }
            if workload.failsOpen, !hasListener { return course(.outboundFailedOpen) }
            if hasListener, let verdict = try self.verdict(key, destination) {
                return course(.direct, verdict.targets, isShared: verdict.isShared)
            }
            let namespace = try BPF.lookup(
                map: self.maps[.namespaces], key: workload.netns, empty: nm_namespace())
            if !ip.isIPv4, (namespace?.flags ?? 0) & UInt32(NM_NAMESPACE_IPV6) == 0 { return course(.ipv6Refused) }
            return course(.captured)
        } catch {
            throw SteeringError(.system, "workload \(entry.id): \(error)")
        }
    }

    /// - Returns: nil when no workload is enrolled under that key.
    package func inboundCourse(of key: UInt32, port: UInt16) throws(SteeringError) -> InboundCourse? {
        guard let entry = self.state.withLock({ $0.enrolled[key] }) else { return nil }
        do throws(SystemError) {
            var owner: UInt32?
            if entry.isShared { owner = self.portOwner(entry.cookie, port) }
            let failsOpen =
                try BPF.lookup(map: self.maps[.failOpen], key: owner ?? key, empty: UInt32(0)) != nil
            let hasListener = try self.hasListener(entry.slot)
            func course(_ reason: Reason) -> InboundCourse {
                InboundCourse(reason: reason, hasListener: hasListener, failsOpen: failsOpen, owner: owner)
            }
            if entry.isShared, owner == nil { return course(.inboundUnowned) }
            let own = nm_excluded_port(workload: owner ?? key, port: port, direction: UInt16(NM_INBOUND))
            let all = nm_excluded_port(workload: 0, port: port, direction: UInt16(NM_INBOUND))
            for exclusion in [own, all] {
                if try BPF.lookup(map: self.maps[.excludedPorts], key: exclusion, empty: UInt32(0)) != nil {
                    return course(.inboundExcluded)
                }
            }
            if !hasListener { return course(failsOpen ? .inboundFailedOpen : .inboundRefused) }
            return course(.inboundSteered)
        } catch {
            throw SteeringError(.system, "workload \(entry.id): \(error)")
        }
    }

    /// Whether the program that steers inbound connections is attached to the workload's network namespace.
    package func isInboundAttached(_ key: UInt32) -> Bool {
        guard let entry = self.state.withLock({ $0.enrolled[key] }) else { return false }
        return (try? self.isInboundAttached(entry)) ?? false
    }

    /// - Throws: when the kernel cannot be asked.
    func isInboundAttached(_ entry: Enrolled) throws(SystemError) -> Bool {
        guard let link = try BPF.open(pinned: self.layout.namespace(entry.cookie)) else { return false }
        return try BPF.info(ofLink: link.raw).netns.netns_ino != 0
    }

    private func hasListener(_ slot: UInt32) throws(SystemError) -> Bool {
        // Reading a socket map gives cookies.
        try BPF.lookup(map: self.maps[.listeners], key: slot, empty: UInt64(0)) != nil
    }

    private func isInMesh(_ ip: IPAddress) throws(SystemError) -> Bool {
        let key = nm_prefix_key(length: 128, ip: ip.words)
        return try BPF.lookup(map: self.maps[.prefixes], key: key, empty: UInt32(0)) == ip.familyNumber
    }

    private func isForAnother(_ workload: nm_workload, _ port: UInt16) -> Bool {
        guard workload.flags & UInt32(NM_WORKLOAD_SHARED) != 0, let owner = self.portOwner(workload.netns, port)
        else { return false }
        return owner != workload.key
    }

    private func isExcluded(_ workload: nm_workload, _ destination: SocketAddress) throws(SystemError) -> Bool {
        let settings = try BPF.lookup(map: self.maps[.settings], key: UInt32(0), empty: nm_settings())
        var owners: [UInt32] = []
        if (settings?.flags ?? 0) & UInt32(NM_SETTING_EXCLUSIONS) != 0 { owners.append(0) }
        if workload.flags & UInt32(NM_WORKLOAD_EXCLUSIONS) != 0 { owners.append(workload.key) }
        for owner in owners {
            let port = nm_excluded_port(workload: owner, port: destination.port, direction: UInt16(NM_OUTBOUND))
            if try BPF.lookup(map: self.maps[.excludedPorts], key: port, empty: UInt32(0)) != nil { return true }
            let prefix = nm_exclusion_key(length: 160, workload: owner, ip: destination.ip.words)
            let family = try BPF.lookup(map: self.maps[.excludedPrefixes], key: prefix, empty: UInt32(0))
            if family == destination.ip.familyNumber { return true }
        }
        return false
    }

    private func verdict(
        _ key: UInt32, _ destination: SocketAddress
    ) throws(SystemError) -> (targets: [SocketAddress], isShared: Bool)? {
        let question = nm_verdict_key(source: key, ip: destination.ip.words, port: destination.port, pad: 0)
        guard let settings = try BPF.lookup(map: self.maps[.settings], key: UInt32(0), empty: nm_settings()),
            let totals = try BPF.lookup(map: self.maps[.totals], key: UInt32(0), empty: nm_totals()),
            settings.flags & UInt32(NM_SETTING_DIRECT) != 0,
            let verdict = try BPF.lookup(map: self.maps[.verdicts], key: question, empty: nm_verdict()),
            verdict.generation == settings.generation, totals.direct_open < settings.direct_limit
        else { return nil }
        let targets = withUnsafeBytes(of: verdict.targets) { bytes in
            (0..<min(Int(verdict.count), Int(NM_TARGETS))).map { index in
                bytes.load(fromByteOffset: index * MemoryLayout<nm_target>.stride, as: nm_target.self)
            }
        }.filter { IPAddress(words: $0.ip).isIPv4 == destination.ip.isIPv4 }
        if targets.isEmpty { return nil }
        return (
            targets.map { SocketAddress(ip: IPAddress(words: $0.ip), port: $0.port) },
            (targets.last?.upto ?? 0) < DirectVerdict.shares
        )
    }
}

extension nm_workload {
    fileprivate func owns(_ ip: IPAddress) -> Bool {
        let count = min(Int(self.own_count), Int(NM_OWN_ADDRESSES))
        return withUnsafeBytes(of: self.own) { bytes in
            (0..<count).contains { index in
                IPAddress(words: bytes.load(fromByteOffset: index * 16, as: AddressWords.self)) == ip
            }
        }
    }
}

extension IPAddress {
    fileprivate var familyNumber: UInt32 { UInt32(self.isIPv4 ? NM_FAMILY_IPV4 : NM_FAMILY_IPV6) }
}

extension SocketAddress {
    /// DNS, link-local, multicast and broadcast, as `nm_is_never_meshed`.
    fileprivate var isNeverMeshed: Bool {
        if self.port == 53 || self.ip.isLinkLocal { return true }
        if let value = self.ip.ipv4 { return value >> 28 == 0xe || value == .max }
        return self.ip.high >> 56 == 0xff
    }
}
