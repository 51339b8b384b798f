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
        let entry = try await fixture.registry.enrol(.named("web"))
        #expect(entry.id == WorkloadID(namespace: "shop", name: "web"))
        #expect(fixture.plane.attached == ["shop/web"])
        #expect(try fixture.store.load().map(\.name) == ["web"])
        #expect(fixture.announced.withLock { $0.last } == ["shop/web"])
    }

    @Test func aSecondOneOfTheSameNameCgroupOrNamespaceIsRefused() async throws {
        let fixture = try await Fixture.started()
        _ = try await fixture.registry.enrol(.named("web"))
        for request in [
            EnrolRequest.named("web", cgroup: "/cg/other"), .named("b", cgroup: "/cg/web"),
            .named("c", cgroup: "/cg/web/below"), .named("d", cgroup: "/cg"),
            .named("e", cgroup: "/cg/e", namespace: "/ns/web"),
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
        let entry = try await fixture.registry.enrol(.named("web"))
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

    func inspect(_ request: EnrolRequest) throws(EnrolmentError) -> InspectedWorkload {
        if self.missing.withLock({ $0.contains(request.cgroup) }) { throw EnrolmentError(.absent, "not there") }
        guard let namespace = try? NetworkNamespace.ofProcess() else { throw EnrolmentError(.kernel, "no namespace") }
        let name = request.networkNamespace ?? request.cgroup.replacingOccurrences(of: "/cg/", with: "/ns/")
        return InspectedWorkload(
            cgroup: (request.cgroup, Self.number(request.cgroup)), namespace: namespace,
            namespaceInode: Self.number(name), addresses: [])
    }

    private static func number(_ text: String) -> UInt64 {
        text.utf8.reduce(14_695_981_039_346_656_037) { ($0 ^ UInt64($1)) &* 1_099_511_628_211 }
    }

    func absence(of workload: InspectedWorkload, request: EnrolRequest) -> String? {
        self.missing.withLock { $0.contains(request.cgroup) } ? "it is gone" : nil
    }
}

private final class FakePlane: WorkloadPlane {
    let refuses = Mutex(false)
    private let names = Mutex<Set<String>>([])
    var attached: [String] { self.names.withLock { $0.sorted() } }

    func attach(_ id: WorkloadID, key: UInt32, workload: InspectedWorkload) async throws(EnrolmentError) {
        if self.refuses.withLock({ $0 }) { throw EnrolmentError(.kernel, "refused") }
        self.names.withLock { _ = $0.insert(id.description) }
    }

    func detach(_ id: WorkloadID, key: UInt32) async { self.names.withLock { _ = $0.remove(id.description) } }
}

extension EnrolRequest {
    fileprivate static func named(_ name: String, cgroup: String? = nil, namespace: String? = nil) -> Self {
        EnrolRequest(
            namespace: "shop", name: name, serviceAccount: "account", labels: [:], cgroup: cgroup ?? "/cg/\(name)",
            networkNamespace: namespace)
    }
}
