// SPDX-License-Identifier: Apache-2.0
import MeshDNS
import MeshModel

/// What reads a client's or resolver's bytes, as a function of arbitrary ones. `Tools/fuzz` runs them under libFuzzer; the
/// unit tests run them on the corpus. A broken promise ends the process.
enum DNSFuzzTarget: String, CaseIterable {
    case query = "dns-query"
    case response = "dns-response"

    func run(_ bytes: UnsafeRawBufferPointer) {
        switch self {
        case .query: Self.query(Array(bytes))
        case .response: Self.response(Array(bytes))
        }
    }

    private static func query(_ bytes: [UInt8]) {
        let query: DNSQuery
        do throws(DNSQuery.Fault) {
            query = try DNSQuery(bytes)
        } catch {
            guard case .refused(let code) = error else { return }
            precondition(DNSQuery.refusal(of: bytes, code).flatMap { DNSResponse($0) } != nil, "a refusal is no answer")
            return
        }
        let refusal = DNSResponse(query.refusal(.serverFailure))
        precondition(refusal?.question?.isSame(as: query.question) == true, "a refusal has another question")
        guard let domain = DNSName("internal") else { return }
        let zone = MeshZone(snapshot: nil, domain: domain, aliases: [], timeToLive: 5)
        for answer in [MeshZone.Answer.nameError(apex: domain), .noData(apex: domain), .unavailable] {
            let message = zone.message(answer, to: query, limit: query.datagramLimit).bytes
            precondition(DNSResponse(message) != nil, "an answer is none")
        }
    }

    private static func response(_ bytes: [UInt8]) {
        _ = RecordText.lines(of: bytes)
        guard let response = DNSResponse(bytes) else { return }
        precondition(response.bytes.count <= bytes.count, "an answer grew")
        let question = response.question ?? DNSQuestion(name: .root, type: .a)
        var edns = EDNS(size: 512, wantsSecurity: true)
        edns.options = [0, 8, 0, 0]
        for query in [DNSQuery(asking: question, edns: nil), DNSQuery(asking: question, edns: edns)] {
            for (age, limit) in [(UInt32(0), 65_535), (7, 1_232), (.max, 512)] {
                let message = response.message(for: query, age: age, limit: limit)
                precondition(message.count <= max(limit, 512 + 300), "an answer beyond its limit")
                guard message.count <= 65_535 else { continue }
                precondition(DNSResponse(message) != nil, "an answer cannot be read any more")
            }
        }
    }
}
