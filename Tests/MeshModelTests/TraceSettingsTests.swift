// SPDX-License-Identifier: Apache-2.0

import MeshModel
import Testing

@Suite struct TraceSettingsTests {
    @Test(arguments: [
        ("http://collector:4318", "http://collector:4318/v1/traces"),
        ("https://collector", "https://collector/v1/traces"), ("http://c/", "http://c/v1/traces"),
        ("http://[fd00::1]:4318/otlp", "http://[fd00::1]:4318/otlp/v1/traces"),
        ("http://c:4318/v1/traces", "http://c:4318/v1/traces"),
    ])
    func endpoints(_ text: String, _ url: String) {
        #expect(TraceSettings.Endpoint(text)?.tracesURL == url)
        #expect(TraceSettings.Endpoint(text)?.isSecure == text.hasPrefix("https"))
    }

    @Test(arguments: [
        "", "collector:4318", "grpc://c", "http://", "http://:4318", "http://a b", "http://u@c", "http:///x",
    ])
    func noEndpoints(_ text: String) { #expect(TraceSettings.Endpoint(text) == nil) }

    @Test func headers() {
        #expect(TraceSettings.Header("authorization=Bearer a=b")?.value == "Bearer a=b")
        #expect(TraceSettings.Header("x=")?.value == "")
        for text in ["", "=x", "a b=c", "a", "a=b\nc: d", "a:=b"] { #expect(TraceSettings.Header(text) == nil) }
    }

    @Test func phasesAreBoundedAndOptional() {
        var phases = ConnectionPhases()
        #expect(phases.reached.isEmpty)
        for phase in ConnectionPhase.allCases {
            #expect(phases[phase] == nil)
            phases.set(phase, nanoseconds: 1_999)
            #expect(phases[phase] == 1)
            phases.add(phase, nanoseconds: 2_000)
            #expect(phases[phase] == 3)
            phases.set(phase, nanoseconds: .max)
            #expect(phases[phase] == UInt32.max - 1)
        }
        #expect(phases.reached.map(\.phase) == ConnectionPhase.allCases)
        phases[.tls] = nil
        #expect(phases.reached.count == ConnectionPhase.allCases.count - 1)
    }

    @Test func aTraceSaysWhetherItIsSampled() throws {
        let trace = TraceContext.random(isSampled: true)
        #expect(trace.isSampled)
        #expect(TraceContext(trace.description) == trace)
        #expect(!TraceContext.random().isSampled)
        let known = try #require(TraceContext("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"))
        #expect(known.traceID.prefix(3) == [0x0a, 0xf7, 0x65] && known.traceID.count == 16)
        #expect(known.spanID == [0xb7, 0xad, 0x6b, 0x71, 0x69, 0x20, 0x33, 0x31])
    }
}
