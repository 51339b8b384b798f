// SPDX-License-Identifier: Apache-2.0

import Foundation

/// What a program that ran to its end left behind.
struct ProgramResult: CustomStringConvertible {
    var command: String
    var status: Int32
    var output: String
    var errors: String

    /// The lines of its output, without the empty ones.
    var lines: [String] { self.output.split(separator: "\n").map(String.init) }

    var description: String { "\(self.command)\nstatus \(self.status)\n\(self.output)\(self.errors)" }
}

/// A program that could not be run, or ran longer than it may.
struct ProgramError: Error, CustomStringConvertible {
    var description: String
}

/// A running program, with its output in files, so that it never waits for a reader.
final class Program {
    private let process = Process()
    private let directory: URL
    private let ended = DispatchSemaphore(value: 0)
    private let command: String
    /// The writing end of an input that stays open.
    private var input: FileHandle?

    /// - Parameters:
    ///   - arguments: the program's path and its arguments.
    ///   - text: its whole input; nil: an input that ends when its result is asked for.
    init(_ arguments: [String], input text: String? = nil, environment: [String: String] = [:]) throws {
        self.command = arguments.joined(separator: " ")
        self.directory = FileManager.default.temporaryDirectory.appending(path: "nodemesh-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: self.directory, withIntermediateDirectories: true)
        for name in ["out", "err"] {
            try Data().write(to: self.directory.appending(path: name))
        }
        self.process.executableURL = URL(filePath: arguments[0])
        self.process.arguments = Array(arguments.dropFirst())
        self.process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        let out = try FileHandle(forWritingTo: self.directory.appending(path: "out"))
        let err = try FileHandle(forWritingTo: self.directory.appending(path: "err"))
        let source: FileHandle
        if let text {
            // A file: a program that ends before it has read all must not hurt its writer.
            let file = self.directory.appending(path: "in")
            try Data(text.utf8).write(to: file)
            source = try FileHandle(forReadingFrom: file)
        } else {
            let pipe = Pipe()
            source = pipe.fileHandleForReading
            self.input = pipe.fileHandleForWriting
        }
        // Process keeps what it is given for as long as it likes: close these here, not some time.
        defer { for handle in [out, err, source] { try? handle.close() } }
        self.process.standardOutput = out
        self.process.standardError = err
        self.process.standardInput = source
        let ended = self.ended
        self.process.terminationHandler = { _ in ended.signal() }
        try self.process.run()
    }

    deinit {
        if self.process.isRunning { kill(self.process.processIdentifier, SIGKILL) }
        try? self.input?.close()
        try? FileManager.default.removeItem(at: self.directory)
    }

    /// Its output so far.
    var output: String { self.text("out") }

    /// How many lines it has printed so far.
    var outputLineCount: Int {
        let data = (try? Data(contentsOf: self.directory.appending(path: "out"))) ?? Data()
        return data.count { $0 == UInt8(ascii: "\n") }
    }

    private func text(_ name: String) -> String {
        let data = (try? Data(contentsOf: self.directory.appending(path: name))) ?? Data()
        return String(decoding: data, as: UTF8.self)
    }

    func terminate() { self.process.terminate() }

    /// Waits for the program's end.
    ///
    /// - Throws: ``ProgramError`` when it has not ended in time; it is killed then.
    func result(within seconds: Double = 30) throws -> ProgramResult {
        try? self.input?.close()
        let seconds = seconds * Patience.factor
        guard self.ended.wait(timeout: .now() + seconds) == .success else {
            kill(self.process.processIdentifier, SIGKILL)
            throw ProgramError(
                description: "\(self.command): not at its end after \(seconds) s\n\(self.output)\(self.text("err"))")
        }
        return ProgramResult(
            command: self.command, status: self.process.terminationStatus, output: self.output,
            errors: self.text("err"))
    }

    /// Runs a program to its end.
    static func run(
        _ arguments: [String], input: String? = nil, environment: [String: String] = [:], within seconds: Double = 30
    ) throws -> ProgramResult {
        try Program(arguments, input: input ?? "", environment: environment).result(within: seconds)
    }
}

/// How much longer everything may take: an emulated processor is slow. `Tools/lab` reads the same variable.
enum Patience {
    static let factor = ProcessInfo.processInfo.environment["NODEMESH_PATIENCE"].flatMap { Double($0) } ?? 1
}

/// Asks again until the answer is there.
///
/// - Throws: ``ProgramError`` with the last answer when it does not come in time.
func eventually<Value>(
    _ what: String, within seconds: Double = 20, _ answer: () throws -> Value, until isRight: (Value) -> Bool
) throws -> Value {
    let seconds = seconds * Patience.factor
    let deadline = Date(timeIntervalSinceNow: seconds)
    while true {
        let value = try answer()
        if isRight(value) { return value }
        if Date() > deadline {
            throw ProgramError(description: "\(what): not within \(seconds) s; the last answer was: \(value)")
        }
        Thread.sleep(forTimeInterval: 0.1)
    }
}
