// SPDX-License-Identifier: Apache-2.0

import MeshAdminAPI

/// Sends resource files to one of the routes that take them, and prints what became of each.
enum ResourceRequest {
    static func send(
        _ files: [String], to target: String, _ client: APIClient, _ printer: Printer
    ) async throws(CLIError) {
        let input = try ResourceFiles.read(files, console: CLIContext.current.console)
        let request = APIRequest(.post, target, body: input.body, contentType: "application/yaml")
        let body = try await client.send(request, place: { input.place(of: $0) })
        try printer.print(body) { () throws(CLIError) in
            let answer = try client.decode(ApplyResponse.self, from: body)
            return printer.text(of: Table(answer.results, at: printer.now), empty: "Nothing was to be done.")
        }
    }
}
