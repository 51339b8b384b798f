// SPDX-License-Identifier: Apache-2.0

import Foundation
import Logging
import MeshAdminAPI
import MeshLinux
import MeshModel
import Synchronization
import Testing

@testable import MeshAgent

@Suite struct WorkloadRegistryTests {
    @Test func anEnrolmentIsAttachedRememberedAndAnnounced() async throws {
        let fixture = try await Fixture.started()
        let entry = try #require(try await fixture.registry.enrol(.named("web")))
        #expect(entry.id == WorkloadID(namespace: "shop", name: "web"))
        #expect(fixture.plane.attached == ["shop/web"])
        #expect(try fixture.store.load().map(\.name) == ["web"])
        #expect(fixture.announced.withLock { $0.last } == ["shop/web"])
    }

    @Test func aSecondOneOfTheSameNameOrCgroupIsRefused() async throws {
        let fixture = try await Fixture.started()
        _ = try await fixture.registry.enrol(.named("web"))
        for request in [
            EnrolRequest.named("web", cgroup: "/cg/other"), .named("b", cgroup: "/cg/web"),
            .named("c", cgroup: "/cg/web/below"), .named("d", cgroup: "/cg"),
        ] {
            let error = await #expect(throws: EnrolmentError.self) { try await fixture.registry.enrol(request) }
            #expect(error?.code == .conflict, "\(request)")
        }
        #expect(fixture.plane.attached == ["shop/web"])
        // A name that only begins alike is another cgroup.
        _ = try await fixture.registry.enrol(.named("web2"))
    }

    @Test(
        "names that cannot become an identity are refused",
        arguments: ["", "-a", "a-", "A", "a/b", "a.b", "a b", "ä", String(repeating: "a", count: 64), ".."])
    func badNames(_ name: String) async throws {
        let fixture = try await Fixture.started()
        let error = await #expect(throws: EnrolmentError.self) { try await fixture.registry.enrol(.named(name)) }
        #expect(error?.code == .invalid)
        #expect(fixture.plane.attached.isEmpty)
    }

    @Test(arguments: [0, -1, 1_000_001])
    func weightsThatAreNone(_ weight: Int) async throws {
        let fixture = try await Fixture.started()
        var request = EnrolRequest.named("web")
        request.weight = weight
        let error = await #expect(throws: EnrolmentError.self) { try await fixture.registry.enrol(request) }
        #expect(error?.code == .invalid)
    }

    @Test func nothingStaysWhenTheKernelRefuses() async throws {
        let fixture = try await Fixture.started()
        fixture.plane.refuses.withLock { $0 = true }
        await #expect(throws: EnrolmentError.self) { try await fixture.registry.enrol(.named("web")) }
        #expect(await fixture.registry.all.isEmpty)
        #expect(try fixture.store.load().isEmpty)
    }

    @Test func nothingStaysWhenItCannotBeSaved() async throws {
        let fixture = try await Fixture.started()
        try FileManager.default.removeItem(atPath: fixture.directory)
        let error = await #expect(throws: EnrolmentError.self) { try await fixture.registry.enrol(.named("web")) }
        #expect(error?.code == .storage)
        #expect(await fixture.registry.all.isEmpty)
        #expect(fixture.plane.attached.isEmpty)
    }

    @Test func aRestartEnrolsAgainWhatIsStillThere() async throws {
        let fixture = try await Fixture.started()
        _ = try await fixture.registry.enrol(.named("web"))
        _ = try await fixture.registry.enrol(.named("gone"))
        let next = try Fixture(directory: fixture.directory)
        next.inspector.missing.withLock { $0 = ["/cg/gone"] }
        try await next.registry.restore()
        #expect(next.plane.attached == ["shop/web"])
        #expect(try next.store.load().map(\.name) == ["web"])
    }

    @Test func whatCannotBeEnrolledAgainYetStaysKnownAndClosed() async throws {
        let fixture = try await Fixture.started()
        _ = try await fixture.registry.enrol(.named("web"))
        let next = try Fixture(directory: fixture.directory)
        next.plane.refuses.withLock { $0 = true }
        #expect(await !next.registry.knowsAll)
        try await next.registry.restore()
        #expect(await !next.registry.knowsAll)
        #expect(try next.store.load().map(\.name) == ["web"])
        next.plane.refuses.withLock { $0 = false }
        await next.registry.prune()
        #expect(await next.registry.knowsAll)
        #expect(next.plane.attached == ["shop/web"])
        #expect(try next.store.load().map(\.name) == ["web"])
    }

    @Test func anUnreadableFileLeavesTheKernelAlone() async throws {
        let fixture = try Fixture()
        try Data("[{]".utf8).write(to: URL(filePath: fixture.directory + "/enrolments.json"))
        await #expect(throws: EnrolmentError.self) { try await fixture.registry.restore() }
        #expect(await !fixture.registry.knowsAll)
    }

    @Test func whatWaitsCanBeUnenrolled() async throws {
        let fixture = try await Fixture.started()
        let entry = try #require(try await fixture.registry.enrol(.named("web")))
        let next = try Fixture(directory: fixture.directory)
        next.plane.refuses.withLock { $0 = true }
        try await next.registry.restore()
        try await next.registry.unenrol(entry.id)
        #expect(await next.registry.knowsAll)
        #expect(try next.store.load().isEmpty)
    }

    @Test func whatVanishesIsLetGo() async throws {
        let fixture = try await Fixture.started()
        _ = try await fixture.registry.enrol(.named("web"))
        _ = try await fixture.registry.enrol(.named("api"))
        fixture.inspector.missing.withLock { $0 = ["/cg/web"] }
        await fixture.registry.prune()
        #expect(fixture.plane.attached == ["shop/api"])
        #expect(fixture.announced.withLock { $0.last } == ["shop/api"])
        #expect(try fixture.store.load().map(\.name) == ["api"])
    }

    @Test func unenrollingWhatIsNotThereSaysSo() async throws {
        let fixture = try await Fixture.started()
        let error = await #expect(throws: EnrolmentError.self) {
            try await fixture.registry.unenrol(WorkloadID(namespace: "shop", name: "web"))
        }
        #expect(error?.code == .notFound)
    }

    @Test func aBrokenFileIsNamed() async throws {
        let fixture = try Fixture()
        try Data("[{]".utf8).write(to: URL(filePath: fixture.directory + "/enrolments.json"))
        let error = await #expect(throws: EnrolmentError.self) { try await fixture.registry.restore() }
        #expect(error?.code == .storage)
        #expect(error?.description.contains("enrolments.json") == true)
    }
}

/// Enrolments that wait, share, come from files or are restored.
@Suite struct WorkloadWaitingTests {
    @Test func whatIsToBeWaitedForComesBack() async throws {
        let fixture = try await Fixture.started()
        var request = EnrolRequest.named("web")
        request.whenGone = "wait"
        _ = try await fixture.registry.enrol(request)
        fixture.inspector.missing.withLock { $0 = ["/cg/web"] }
        await fixture.registry.look(at: ["/cg"], everywhere: false)
        #expect(fixture.plane.attached.isEmpty)
        #expect(await fixture.registry.allWaiting.map(\.isAbsent) == [true])
        #expect(try fixture.store.load().map(\.name) == ["web"])
        #expect(await fixture.registry.knowsAll)
        fixture.inspector.missing.withLock { $0 = [] }
        await fixture.registry.look(at: ["/other"], everywhere: false)
        #expect(fixture.plane.attached.isEmpty)
        await fixture.registry.look(at: ["/cg"], everywhere: false)
        #expect(fixture.plane.attached == ["shop/web"])
        #expect(await fixture.registry.allWaiting.isEmpty)
    }

    @Test func aCgroupWithoutProcessesIsGuardedUntilItHasOne() async throws {
        let fixture = try await Fixture.started()
        var request = EnrolRequest.named("web")
        request.whenGone = "wait"
        _ = try await fixture.registry.enrol(request)
        fixture.inspector.missing.withLock { $0 = ["/cg/web"] }
        await fixture.registry.prune()
        fixture.inspector.missing.withLock { $0 = [] }
        fixture.inspector.empty.withLock { $0 = ["/cg/web"] }
        await fixture.registry.prune()
        #expect(fixture.plane.guarded == ["/cg/web"])
        #expect(await !fixture.registry.knowsAll)
        fixture.inspector.empty.withLock { $0 = [] }
        await fixture.registry.look(at: ["/cg/web/cgroup.events"], everywhere: false)
        #expect(fixture.plane.attached == ["shop/web"])
        #expect(fixture.plane.guarded.isEmpty)
    }

    @Test func whatDoesNotRunYetMayBeEnrolled() async throws {
        let fixture = try await Fixture.started()
        fixture.inspector.missing.withLock { $0 = ["/cg/web"] }
        var request = EnrolRequest.named("web")
        await #expect(throws: EnrolmentError.self) { try await fixture.registry.enrol(request) }
        request.whenGone = "wait"
        #expect(try await fixture.registry.enrol(request) == nil)
        let next = try Fixture(directory: fixture.directory)
        try await next.registry.restore()
        #expect(next.plane.attached == ["shop/web"])
    }

    @Test func whatHasLostItsProgramsIsAttachedAnew() async throws {
        let fixture = try await Fixture.started()
        let entry = try #require(try await fixture.registry.enrol(.named("web")))
        _ = try await fixture.registry.enrol(.named("api"))
        await fixture.plane.detach(entry.id, key: entry.key)
        #expect(fixture.plane.attached == ["shop/api"])
        await fixture.registry.reattach([entry.key, 999])
        #expect(fixture.plane.attached == ["shop/api", "shop/web"])
        // What is unenrolled is not steered again, and a failure takes nothing away.
        fixture.plane.refuses.withLock { $0 = true }
        await fixture.registry.reattach([entry.key])
        #expect(await fixture.registry.all.map(\.key).contains(entry.key))
        fixture.plane.refuses.withLock { $0 = false }
        try await fixture.registry.unenrol(entry.id)
        await fixture.registry.reattach([entry.key])
        #expect(fixture.plane.attached == ["shop/api"])
    }

    @Test func severalInOneNamespaceShareIt() async throws {
        let fixture = try await Fixture.started()
        _ = try await fixture.registry.enrol(.named("web"))
        #expect(fixture.plane.options("shop/web")?.isShared == false)
        _ = try await fixture.registry.enrol(.named("api", namespace: "/ns/web"))
        #expect(fixture.plane.options("shop/web")?.isShared == true)
        #expect(fixture.plane.options("shop/api")?.isShared == true)
    }

    @Test func optionsReachTheKernel() async throws {
        let fixture = try await Fixture.started()
        var request = EnrolRequest.named("web")
        request.failMode = "open"
        request.excludedOutboundPorts = [53]
        request.excludedInboundPorts = [22]
        request.excludedPrefixes = ["10.0.0.0/8"]
        request.answersOriginalDestination = true
        _ = try await fixture.registry.enrol(request)
        let options = try #require(fixture.plane.options("shop/web"))
        #expect(options.failsOpen == true)
        #expect(options.excludedOutboundPorts == [53])
        #expect(options.excludedInboundPorts == [22])
        #expect(options.excludedPrefixes.map(\.description) == ["10.0.0.0/8"])
        #expect(options.answersOriginalDestination)
    }

    @Test(arguments: ["failMode", "whenGone", "prefix", "port"])
    func wrongOptionsAreRefused(_ what: String) async throws {
        let fixture = try await Fixture.started()
        var request = EnrolRequest.named("web")
        switch what {
        case "failMode": request.failMode = "ajar"
        case "whenGone": request.whenGone = "maybe"
        case "prefix": request.excludedPrefixes = ["10.0.0.0/33"]
        default: request.excludedOutboundPorts = [0]
        }
        let error = await #expect(throws: EnrolmentError.self) { try await fixture.registry.enrol(request) }
        #expect(error?.code == .invalid)
    }

    @Test func theFormerFileIsTakenOver() async throws {
        let fixture = try Fixture()
        try AdminJSON.encoder.encode([EnrolRequest.named("web"), .named("api")])
            .write(to: URL(filePath: fixture.directory + "/enrolments.json"))
        try await fixture.registry.restore()
        #expect(fixture.plane.attached == ["shop/api", "shop/web"])
        #expect(!FileManager.default.fileExists(atPath: fixture.directory + "/enrolments.json"))
        #expect(try fixture.store.load().count == 2)
    }

    private static func files(_ text: String) -> EnrolmentFiles {
        var files = EnrolmentFiles()
        files.read(text: text, path: "/w/a.yaml", locator: nil, mount: "/cg")
        return files
    }

    private static func workload(_ name: String, _ more: String = "") -> String {
        """
        apiVersion: nodemesh.io/v1
        kind: Workload
        metadata: {name: \(name), namespace: shop}
        spec: {cgroup: /\(name)\(more)}
        ---

        """
    }

    @Test func filesDeclareAndTakeBack() async throws {
        let fixture = try Fixture()
        try await fixture.registry.restore(files: Self.files(Self.workload("web") + Self.workload("api")))
        #expect(fixture.plane.attached == ["shop/api", "shop/web"])
        #expect(try fixture.store.load().isEmpty)
        let error = await #expect(throws: EnrolmentError.self) {
            try await fixture.registry.unenrol(WorkloadID(namespace: "shop", name: "api"))
        }
        #expect(error?.description.contains("/w/a.yaml:6") == true, "\(error?.description ?? "-")")
        await fixture.registry.reload(Self.files(Self.workload("web", ", failMode: open")))
        #expect(fixture.plane.attached == ["shop/web"])
        #expect(fixture.plane.options("shop/web")?.failsOpen == true)
    }

    @Test func aFileThatHasBecomeWrongLetsGoOfNothing() async throws {
        let fixture = try Fixture()
        try await fixture.registry.restore(files: Self.files(Self.workload("web")))
        await fixture.registry.reload(Self.files(Self.workload("web", ", cgruop: x")))
        #expect(fixture.plane.attached == ["shop/web"])
        let problems = await fixture.registry.fileProblems
        #expect(problems.count == 1)
        #expect(problems.first?.hasPrefix("/w/a.yaml:4: spec.cgruop: unknown field") == true, "\(problems)")
        #expect(await !fixture.registry.knowsAll)
    }

    @Test func aFileWaitsForWhatIsNotThere() async throws {
        let fixture = try Fixture()
        fixture.inspector.missing.withLock { $0 = ["/cg/web"] }
        try await fixture.registry.restore(files: Self.files(Self.workload("web")))
        #expect(await fixture.registry.allWaiting.map(\.origin) == [.file("/w/a.yaml:1")])
        let error = await #expect(throws: EnrolmentError.self) { try await fixture.registry.enrol(.named("web")) }
        #expect(error?.code == .conflict)
    }
}

private final class Fixture: Sendable {
    let directory: String
    let store: EnrolmentStore
    let inspector = FakeInspector()
    let plane = FakePlane()
    let registry: WorkloadRegistry
    private let owns: Bool
    let announced: Announcements

    final class Announcements: Sendable {
        private let lists = Mutex<[[String]]>([])
        func append(_ list: [String]) { self.lists.withLock { $0.append(list) } }
        func withLock<T: Sendable>(_ body: ([[String]]) -> T) -> T { self.lists.withLock { body($0) } }
    }

    init(directory existing: String? = nil) throws {
        let directory = existing ?? NSTemporaryDirectory() + "registry-\(UUID().uuidString)"
        self.owns = existing == nil
        if existing == nil {
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        }
        self.directory = directory
        self.store = EnrolmentStore(dataDirectory: directory)
        let announced = Announcements()
        self.announced = announced
        self.registry = WorkloadRegistry(
            store: self.store, inspector: self.inspector, plane: self.plane,
            logger: Logger(label: "test", factory: { _ in SwiftLogNoOpLogHandler() })
        ) { entries in announced.append(entries.map(\.id.description)) }
    }

    static func started() async throws -> Fixture {
        let fixture = try Fixture()
        try await fixture.registry.restore()
        return fixture
    }

    deinit { if self.owns { try? FileManager.default.removeItem(atPath: self.directory) } }
}

private final class FakeInspector: WorkloadInspector {
    let missing = Mutex<Set<String>>([])
    /// Those without a process.
    let empty = Mutex<Set<String>>([])

    func inspect(_ request: EnrolRequest) throws(EnrolmentError) -> InspectedWorkload {
        if self.missing.withLock({ $0.contains(request.cgroup) }) { throw EnrolmentError(.absent, "not there") }
        if self.empty.withLock({ $0.contains(request.cgroup) }) { throw EnrolmentError(.empty, "no process") }
        guard let namespace = try? NetworkNamespace.ofProcess() else { throw EnrolmentError(.kernel, "no namespace") }
        let name = request.networkNamespace ?? request.cgroup.replacingOccurrences(of: "/cg/", with: "/ns/")
        return InspectedWorkload(
            cgroup: (request.cgroup, Self.number(request.cgroup)), namespace: namespace,
            namespaceInode: Self.number(name), addresses: [])
    }

    private static func number(_ text: String) -> UInt64 {
        text.utf8.reduce(14_695_981_039_346_656_037) { ($0 ^ UInt64($1)) &* 1_099_511_628_211 }
    }

    func isThere(_ workload: InspectedWorkload) -> Bool {
        !self.missing.withLock { $0.contains(workload.cgroup.path) }
    }

    func absence(of workload: InspectedWorkload, request: EnrolRequest) -> String? {
        self.missing.withLock { $0.contains(request.cgroup) } ? "it is gone" : nil
    }
}

private final class FakePlane: WorkloadPlane {
    let refuses = Mutex(false)
    private let names = Mutex<[String: SteeringOptions]>([:])
    private let guards = Mutex<Set<String>>([])
    var attached: [String] { self.names.withLock { $0.keys.sorted() } }
    var guarded: [String] { self.guards.withLock { $0.sorted() } }
    func options(_ name: String) -> SteeringOptions? { self.names.withLock { $0[name] } }

    func attach(
        _ id: WorkloadID, key: UInt32, workload: InspectedWorkload, options: SteeringOptions
    ) async throws(EnrolmentError) {
        if self.refuses.withLock({ $0 }) { throw EnrolmentError(.kernel, "refused") }
        self.names.withLock { $0[id.description] = options }
    }

    func detach(_ id: WorkloadID, key: UInt32) async { self.names.withLock { $0[id.description] = nil } }

    func setGuard(_ cgroup: String) throws(EnrolmentError) { self.guards.withLock { _ = $0.insert(cgroup) } }
    func removeGuard(_ cgroup: String) { self.guards.withLock { _ = $0.remove(cgroup) } }
}

extension EnrolRequest {
    fileprivate static func named(_ name: String, cgroup: String? = nil, namespace: String? = nil) -> Self {
        EnrolRequest(
            namespace: "shop", name: name, serviceAccount: "account", labels: [:], cgroup: cgroup ?? "/cg/\(name)",
            networkNamespace: namespace)
    }
}
