// SPDX-License-Identifier: Apache-2.0

import Foundation
import Testing

@testable import MeshLinux

/// On directories that look like a cgroup tree.
@Suite struct CgroupLocatorTests {
    private static let id = String(repeating: "0123456789abcdef", count: 4)
    private static let other = String(repeating: "fedcba9876543210", count: 4)

    private static func locator(
        _ paths: [String], systemctl: @escaping @Sendable ([String]) -> ChildProcess.Result? = { _ in nil }
    ) throws -> (CgroupLocator, String) {
        let mount = NSTemporaryDirectory() + "locator-\(UUID().uuidString)"
        for path in paths + [""] {
            try FileManager.default.createDirectory(atPath: mount + "/" + path, withIntermediateDirectories: true)
        }
        return (CgroupLocator(mount: mount, systemctl: systemctl), mount)
    }

    @Test func systemdSaysWhereAUnitIs() throws {
        let (locator, mount) = try Self.locator(["system.slice/redis.service"]) { arguments in
            #expect(arguments.last == "redis.service")
            return ChildProcess.Result(
                code: 0, output: "ControlGroup=/system.slice/redis.service\nSlice=system.slice\nLoadState=loaded\n")
        }
        defer { try? FileManager.default.removeItem(atPath: mount) }
        #expect(try locator.unit("redis") == .init(path: mount + "/system.slice/redis.service", isThere: true))
    }

    @Test(arguments: [
        ("a.service", "Slice=app-web.slice", "/app.slice/app-web.slice/a.service"),
        ("a.service", "Slice=-.slice", "/a.service"), ("a-b.slice", "Slice=a.slice", "/a.slice/a-b.slice"),
    ])
    func aUnitThatDoesNotRunHasAPlace(_ unit: String, _ slice: String, _ path: String) throws {
        let (locator, mount) = try Self.locator([]) { _ in
            ChildProcess.Result(code: 0, output: "ControlGroup=\n\(slice)\nLoadState=loaded\n")
        }
        defer { try? FileManager.default.removeItem(atPath: mount) }
        let found = try locator.unit(unit)
        #expect(found.path.replacingOccurrences(of: "//", with: "/") == (mount + path))
        #expect(!found.isThere)
    }

    @Test func anUnknownUnitIsTold() throws {
        let (locator, mount) = try Self.locator([]) { _ in
            ChildProcess.Result(code: 0, output: "ControlGroup=\nSlice=\nLoadState=not-found\n")
        }
        defer { try? FileManager.default.removeItem(atPath: mount) }
        let error = #expect(throws: CgroupLocator.Failure.self) { try locator.unit("nope.service") }
        #expect(error?.description.contains("knows no unit nope.service") == true)
    }

    @Test func withoutSystemdTheDirectoryIsLookedFor() throws {
        let (locator, mount) = try Self.locator(["a/redis.service", "b/twice.service", "c/twice.service"])
        defer { try? FileManager.default.removeItem(atPath: mount) }
        #expect(try locator.unit("redis.service").path == mount + "/a/redis.service")
        #expect(throws: CgroupLocator.Failure.self) { try locator.unit("twice.service") }
        #expect(throws: CgroupLocator.Failure.self) { try locator.unit("none.service") }
        for wrong in ["-x", "../a", "a/b.service", "", "a b"] {
            #expect(throws: CgroupLocator.Failure.self, "\(wrong)") { try locator.unit(wrong) }
        }
    }

    @Test(arguments: [
        "system.slice/docker-ID.scope", "docker/ID", "kubepods.slice/kubepods-pod1.slice/cri-containerd-ID.scope",
        "kubepods/besteffort/pod1/ID", "machine.slice/libpod-ID.scope/container", "kubepods.slice/crio-ID.scope",
        "libpod_parent/libpod-ID", "system.slice/nerdctl-ID.scope",
    ])
    func containersOfEveryRuntime(_ path: String) throws {
        let mine = path.replacingOccurrences(of: "ID", with: Self.id)
        let (locator, mount) = try Self.locator([
            mine, path.replacingOccurrences(of: "ID", with: Self.other), "machine.slice/libpod-conmon-\(Self.id).scope",
            "kubepods.slice/crio-conmon-\(Self.id).scope",
        ])
        defer { try? FileManager.default.removeItem(atPath: mount) }
        let expected = mount + "/" + (mine.hasSuffix("/container") ? String(mine.dropLast(10)) : mine)
        #expect(try locator.container(Self.id) == expected)
        #expect(try locator.container(String(Self.id.prefix(12))) == expected)
        for wrong in ["0123", "0123456789AB", "../0123456789ab", String(repeating: "a", count: 12)] {
            #expect(throws: CgroupLocator.Failure.self, "\(wrong)") { try locator.container(wrong) }
        }
    }

    @Test(arguments: [
        "kubepods/burstable/pod01234567-89ab-cdef-0123-456789abcdef",
        "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod01234567_89ab_cdef_0123_456789abcdef.slice",
        "kubepods.slice/kubepods-pod01234567_89ab_cdef_0123_456789abcdef.slice",
    ])
    func podsOfBothDrivers(_ path: String) throws {
        let (locator, mount) = try Self.locator([path + "/below", "kubepods/podffffffff-89ab-cdef-0123-456789abcdef"])
        defer { try? FileManager.default.removeItem(atPath: mount) }
        #expect(try locator.pod(uid: "01234567-89AB-cdef-0123-456789abcdef") == mount + "/" + path)
        for wrong in ["01234567", "01234567-89ab-cdef-0123-456789abcdeg", "..", ""] {
            #expect(throws: CgroupLocator.Failure.self, "\(wrong)") { try locator.pod(uid: wrong) }
        }
    }

    @Test func programsAreRunWithoutAShell() throws {
        let echo = try ChildProcess.run("/bin/echo", ["$HOME; ls", "*"], timeout: 5000)
        #expect(echo == .init(code: 0, output: "$HOME; ls *\n"))
        #expect(try ChildProcess.run("/bin/sh", ["-c", "exit 7"], timeout: 5000).code == 7)
        #expect(try ChildProcess.run("/bin/sh", ["-c", "kill -9 $$"], timeout: 5000).code == -10)
        #expect(throws: SystemError.self) { try ChildProcess.run("/nonexistent", [], timeout: 1000) }
        let error = #expect(throws: SystemError.self) { try ChildProcess.run("/bin/sleep", ["60"], timeout: 50) }
        #expect(error?.errno == ETIMEDOUT)
    }
}

/// On a directory of its own.
@Suite struct DirectoryWatcherTests {
    @Test func tellsWhatComesAndGoes() async throws {
        let path = NSTemporaryDirectory() + "watch-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path + "/sub", withIntermediateDirectories: true)
        try Data("a".utf8).write(to: URL(filePath: path + "/file"))
        defer { try? FileManager.default.removeItem(atPath: path) }
        let watcher = try DirectoryWatcher()
        #expect(
            watcher.watchOnly(directories: [path, path + "/sub", path + "/none"], files: [path + "/file"]) == [
                path + "/none"
            ])
        let (stream, continuation) = AsyncStream.makeStream(of: DirectoryWatcher.Event.self)
        let thread = try OSThread(name: "watch-test") {
            try? watcher.run { for event in $0 { continuation.yield(event) } }
            continuation.finish()
        }
        var events = stream.makeAsyncIterator()
        try FileManager.default.createDirectory(atPath: path + "/new", withIntermediateDirectories: false)
        #expect(await events.next() == .changed(path: path))
        let handle = try FileHandle(forWritingTo: URL(filePath: path + "/file"))
        try handle.write(contentsOf: Data("b".utf8))
        try handle.close()
        #expect(await events.next() == .changed(path: path + "/file"))
        try FileManager.default.removeItem(atPath: path + "/sub")
        var seen: Set<DirectoryWatcher.Event> = []
        while seen.count < 2, let event = await events.next() { seen.insert(event) }
        #expect(seen == [.changed(path: path), .gone(path: path + "/sub")])
        #expect(watcher.watched == [path, path + "/file"])
        watcher.stop()
        #expect(await events.next() == nil)
        thread.join()
    }
}
