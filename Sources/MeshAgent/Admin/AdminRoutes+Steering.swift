// SPDX-License-Identifier: Apache-2.0

import Foundation
import Hummingbird
import MeshAdminAPI
import NIOCore

extension AdminRoutes {
    static func addTemplates(to router: Router<BasicRequestContext>, _ backend: any AdminBackend) {
        router.get("/v1/templates") { _, _ in try Self.json(await backend.templates()) }
        router.post("/v1/templates") { request, _ in
            let body = try await request.body.collect(upTo: Self.maximumBody)
            let template: EnrolTemplate
            do {
                template = try AdminJSON.decoder.decode(EnrolTemplate.self, from: Data(body.readableBytesView))
            } catch {
                throw APIError(.badRequest, "the body is not a template: \(error)")
            }
            return try Self.json(await backend.enrol(template), status: .created)
        }
        router.delete("/v1/templates/{name}") { _, context in
            try await backend.unenrol(template: try context.parameters.require("name"))
            return Response(status: .noContent)
        }
    }

    static func addKernel(to router: Router<BasicRequestContext>, _ backend: any AdminBackend) {
        router.get("/v1/bpf") { _, _ in try Self.json(try await backend.bpf()) }
        router.get("/v1/connections/uncaptured") { _, _ in try Self.json(await backend.uncaptured()) }
        // One JSON object per line; with ?follow=true the answer ends only with its reader.
        router.get("/v1/events") { request, _ in
            let follows = request.uri.queryParameters["follow"].map { $0 == "true" } ?? false
            guard let (history, subscription) = backend.events(follow: follows) else {
                throw APIError(.serviceUnavailable, "too many read the events already; end one of them")
            }
            return Response(
                status: .ok, headers: [.contentType: "application/x-ndjson"],
                body: ResponseBody { writer in
                    for event in history { try await writer.write(Self.line(event)) }
                    if let subscription {
                        // So that the reader knows at once that it listens.
                        if history.isEmpty { try await writer.write(ByteBuffer(string: "\n")) }
                        for await event in subscription { try await writer.write(Self.line(event)) }
                    }
                    try await writer.finish(nil)
                })
        }
    }

    private static func line(_ event: NodeEvent) throws -> ByteBuffer {
        var buffer = ByteBuffer(bytes: try AdminJSON.encoder.encode(event))
        buffer.writeString("\n")
        return buffer
    }
}
