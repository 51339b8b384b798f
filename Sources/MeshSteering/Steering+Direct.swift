// SPDX-License-Identifier: Apache-2.0
import CLibBPF
import CMeshABI
import MeshLinux
import MeshModel
import Synchronization

/// The direct path between workloads of this node. One caller at a time.
extension Steering {
    /// Switches the direct path and says which verdicts count: those of this generation.
    package func setDirectPath(isOn: Bool, generation: UInt32) throws(SteeringError) {
        try self.directly("settings") { () throws(SystemError) in
            let capacity = UInt64(try BPF.info(ofMap: self.maps[.direct]).max_entries)
            // Room for those that are past the check when the limit is reached.
            let limit = capacity - max(1, capacity / 16)
            try self.changeSettings { settings in
                settings.flags = settings.flags & ~UInt32(NM_SETTING_DIRECT) | (isOn ? UInt32(NM_SETTING_DIRECT) : 0)
                settings.generation = generation
                settings.direct_limit = limit
            }
        }
    }

    /// With so many open, further connections stay on the proxy.
    package func setDirectLimit(_ limit: Int) throws(SteeringError) {
        try self.directly("settings") { () throws(SystemError) in
            try self.changeSettings { $0.direct_limit = UInt64(clamping: limit) }
        }
    }

    /// The generation that counts now: that of an earlier run, unless ``setDirectPath(isOn:generation:)`` was called.
    package var directGeneration: UInt32 {
        self.state.withLock { $0.settings.generation }
    }

    private func changeSettings(_ change: (inout nm_settings) -> Void) throws(SystemError) {
        try self.state.withLock { state throws(SystemError) in try self.changeSettings(&state, change) }
    }

    // MARK: Verdicts

    /// Allows a workload's connects to an address to go to the verdict's targets; nil: to the proxy.
    package func setVerdict(
        source: UInt32, destination: SocketAddress, _ verdict: DirectVerdict?
    ) throws(SteeringError) {
        try self.directly("verdict") { () throws(SystemError) in
            let key = nm_verdict_key(source: source, ip: destination.ip.words, port: destination.port, pad: 0)
            guard let verdict else { return try BPF.delete(map: self.maps[.verdicts], key: key) }
            try BPF.update(map: self.maps[.verdicts], key: key, value: nm_verdict(verdict))
        }
    }

    /// Forgets every verdict.
    package func removeVerdicts() throws(SteeringError) {
        try self.directly("verdicts") { () throws(SystemError) in
            for key in try BPF.keys(map: self.maps[.verdicts], empty: nm_verdict_key()) {
                try BPF.delete(map: self.maps[.verdicts], key: key)
            }
        }
    }

    // MARK: Flows

    /// The connections that reach, or try to reach, their servers without the proxy.
    package func directFlows() throws(SteeringError) -> [DirectFlow] {
        try self.directly("flows") { () throws(SystemError) in
            try BPF.entries(map: self.maps[.direct], key: nm_flow_key(), value: nm_direct_flow())
                .map { DirectFlow(key: $0.key, value: $0.value) }
        }
    }

    /// Takes an entry away whose socket is gone and that the programs did not see going.
    package func forget(_ flow: DirectFlow) throws(SteeringError) {
        try self.directly("flow") { () throws(SystemError) in
            try BPF.delete(map: self.maps[.direct], key: flow.key)
        }
    }

    /// Lets one connection pass into a namespace: a probe of nodemeshd's own. `isOn` false ends that.
    package func admitProbe(
        from client: SocketAddress, to server: SocketAddress, namespaceCookie: UInt64, isOn: Bool
    ) throws(SteeringError) {
        try self.directly("probe") { () throws(SystemError) in
            let key = nm_flow_key(
                netns: namespaceCookie, source_ip: client.ip.words, destination_ip: server.ip.words,
                source_port: client.port, destination_port: server.port, pad: 0)
            guard isOn else { return try BPF.delete(map: self.maps[.direct], key: key) }
            var value = nm_direct_flow()
            value.opened = Clock.monotonic
            value.kind = UInt16(NM_FLOW_PROBE)
            try BPF.update(map: self.maps[.direct], key: key, value: value)
        }
    }

    // MARK: Loads

    /// How many connections on the direct path are open or being made, as the programs count.
    package var directOpen: Int {
        let totals = try? BPF.lookup(map: self.maps[.totals], key: UInt32(0), empty: nm_totals())
        return Int(truncatingIfNeeded: totals?.direct_open ?? 0)
    }

    /// A server: the programs count its open direct connections.
    package struct Load: Hashable, Sendable {
        package let key: UInt32
        package let port: UInt16

        package init(key: UInt32, port: UInt16) {
            self.key = key
            self.port = port
        }
    }

    package func loads() throws(SteeringError) -> [Load: Int] {
        try self.directly("loads") { () throws(SystemError) in
            let pairs = try BPF.entries(map: self.maps[.loads], key: nm_load_key(), value: UInt64(0))
                .map { (Load(key: $0.key.key, port: $0.key.port), Int(truncatingIfNeeded: $0.value)) }
            return Dictionary(pairs, uniquingKeysWith: { $1 })
        }
    }

    // MARK: Addresses

    /// Says where a workload's address is, for packets that go straight there; nil: not any more.
    package func setLocal(_ address: IPAddress, _ local: LocalAddress?) throws(SteeringError) {
        try self.directly("address") { () throws(SystemError) in
            let key = nm_local_key(ip: address.words)
            guard let local else { return try BPF.delete(map: self.maps[.local], key: key) }
            try BPF.update(map: self.maps[.local], key: key, value: nm_local(local))
        }
    }

    private func directly<T>(
        _ what: String, _ body: () throws(SystemError) -> T
    ) throws(SteeringError) -> T {
        do throws(SystemError) {
            return try body()
        } catch {
            throw SteeringError(error.errno == 7 ? .capacity : .system, "direct path, \(what): \(error)")
        }
    }
}

extension nm_verdict {
    fileprivate init(_ verdict: DirectVerdict) {
        self.init()
        self.generation = verdict.generation
        let targets = verdict.targets.prefix(DirectVerdict.maxTargets)
        self.count = UInt32(targets.count)
        var sum: UInt32 = 0
        withUnsafeMutableBytes(of: &self.targets) { bytes in
            for (index, target) in targets.enumerated() {
                sum = min(DirectVerdict.shares, sum + target.share)
                var value = nm_target()
                value.netns = target.namespaceCookie
                value.ip = target.address.ip.words
                value.port = target.address.port
                value.key = target.key
                value.upto = sum
                value.flags = target.isAccelerated ? UInt16(NM_TARGET_ACCELERATED) : 0
                bytes.storeBytes(
                    of: value, toByteOffset: index * MemoryLayout<nm_target>.stride, as: nm_target.self)
            }
        }
    }
}

extension DirectFlow {
    fileprivate init(key: nm_flow_key, value: nm_direct_flow) {
        self.init(
            client: SocketAddress(ip: IPAddress(words: key.source_ip), port: key.source_port),
            server: SocketAddress(ip: IPAddress(words: key.destination_ip), port: key.destination_port),
            dialled: value.dialled.socketAddress, clientNamespace: value.client_netns, serverNamespace: key.netns,
            source: value.source, target: value.target, generation: value.generation,
            isVerdict: value.kind == UInt16(NM_FLOW_DIRECT), isEstablished: value.state == UInt16(NM_FLOW_ESTABLISHED),
            isAccelerated: value.flags & Self.joined == Self.joined,
            isStalled: value.flags & UInt32(NM_FLOW_STALLED) != 0,
            redirected: (value.streams.0.redirected, value.streams.1.redirected),
            openedAt: value.opened, cookie: value.cookie)
    }

    private static let joined = UInt32(NM_FLOW_CLIENT_JOINED | NM_FLOW_SERVER_JOINED)

    fileprivate var key: nm_flow_key {
        nm_flow_key(
            netns: self.serverNamespace, source_ip: self.client.ip.words, destination_ip: self.server.ip.words,
            source_port: self.client.port, destination_port: self.server.port, pad: 0)
    }
}

extension nm_local {
    fileprivate init(_ local: LocalAddress) {
        self.init()
        self.netns = local.namespaceCookie
        self.workload = local.key
        self.ifindex = local.interface
        withUnsafeMutableBytes(of: &self.peer_mac) { $0.copyBytes(from: local.insideMAC.prefix(6)) }
        withUnsafeMutableBytes(of: &self.host_mac) { $0.copyBytes(from: local.hostMAC.prefix(6)) }
    }
}
