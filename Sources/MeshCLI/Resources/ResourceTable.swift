// SPDX-License-Identifier: Apache-2.0

/// Rows of resources, with the columns that matter for their kind.
package enum ResourceTable {
    package static func table(of resources: [JSONValue]) -> Table {
        let details = Self.details(of: resources.first?["kind"].text ?? "")
        let rows = resources.map { resource in
            let metadata = resource["metadata"]
            return [Cell(metadata["namespace"].text), Cell(metadata["name"].text)]
                + details.map { $0.cell(resource) }
                + [Cell(metadata["labels"].members.compactMapValues(\.text))]
        }
        return Table(
            columns: ["NAMESPACE", "NAME"] + details.map { Column($0.title) } + [Column("LABELS", isWide: true)],
            rows: rows.sorted { ($0[0].text, $0[1].text) < ($1[0].text, $1[1].text) })
    }

    private struct Detail {
        var title: String
        var cell: (JSONValue) -> Cell
    }

    private static func details(of kind: String) -> [Detail] {
        switch kind {
        case "Service":
            [
                Detail(title: "ADDRESS") { Self.address($0["spec"]) },
                Detail(title: "PORTS") { Cell($0["spec"]["ports"].elements.map(Self.port)) },
                Detail(title: "SELECTOR") { Self.labels($0["spec"]["selector"]) },
            ]
        case "Workload":
            [
                Detail(title: "SERVICE ACCOUNT") { Cell($0["spec"]["serviceAccount"].text) },
                Detail(title: "NODE") { Cell($0["spec"]["node"].text) },
                Detail(title: "ADDRESSES") { Cell($0["spec"]["addresses"].elements.compactMap(\.text)) },
            ]
        case "PeerAuthentication":
            [
                Detail(title: "MODE") { Cell($0["spec"]["mtls"]["mode"].text) },
                Detail(title: "SELECTOR") { Self.labels($0["spec"]["selector"]["matchLabels"]) },
            ]
        case "AuthorizationPolicy":
            [
                Detail(title: "ACTION") { resource in
                    let action = resource["spec"]["action"].text ?? "ALLOW"
                    return Cell(action, action == "DENY" ? .bad : .good)
                },
                Detail(title: "RULES") { Cell("\($0["spec"]["rules"].elements.count)") },
                Detail(title: "SELECTOR") { Self.labels($0["spec"]["selector"]["matchLabels"]) },
            ]
        default:
            []
        }
    }

    private static func labels(_ value: JSONValue) -> Cell { Cell(value.members.compactMapValues(\.text)) }

    /// The one that was asked for; `service list --all` shows the one that was assigned.
    private static func address(_ spec: JSONValue) -> Cell {
        let all = spec["clusterIPs"].elements.compactMap(\.text)
        return all.isEmpty ? Cell(spec["clusterIP"].text ?? "automatic") : Cell(all)
    }

    private static func port(_ value: JSONValue) -> String {
        let port = value["port"].text ?? "?"
        guard let target = value["targetPort"].text, target != port else { return port }
        return "\(port)->\(target)"
    }
}
