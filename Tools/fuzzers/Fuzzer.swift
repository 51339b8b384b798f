// SPDX-License-Identifier: Apache-2.0
import Glibc

/// The target that NODEMESH_FUZZ names.
private let run: @Sendable (UnsafeRawBufferPointer) -> Void = {
    let name = getenv("NODEMESH_FUZZ").map { String(cString: $0) } ?? ""
    if let target = FuzzTarget(rawValue: name) { return { target.run($0) } }
    if let target = DNSFuzzTarget(rawValue: name) { return { target.run($0) } }
    let names = FuzzTarget.allCases.map(\.rawValue) + DNSFuzzTarget.allCases.map(\.rawValue)
    print("NODEMESH_FUZZ must be one of: \(names.joined(separator: " "))")
    exit(2)
}()

/// Called by libFuzzer with each input.
@_cdecl("LLVMFuzzerTestOneInput") public func fuzzOneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    run(UnsafeRawBufferPointer(start: bytes, count: bytes == nil ? 0 : count))
    return 0
}
