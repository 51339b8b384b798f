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
        case "DestinationRule":
            [
                Detail(title: "HOST") { Cell($0["spec"]["host"].text) },
                Detail(title: "POOL") { Self.figures($0["spec"]["trafficPolicy"]["connectionPool"]["tcp"]) },
                Detail(title: "EJECTION") { Self.ejection($0["spec"]["trafficPolicy"]["outlierDetection"]) },
                Detail(title: "LOCALITY") { Self.locality($0["spec"]["trafficPolicy"]["loadBalancer"]) },
            ]
        case "ConnectionLimits":
            [
                Detail(title: "FOR") { resource in
                    let spec = resource["spec"]
                    if let name = spec["targetRef"]["name"].text { return Cell("Service/\(name)") }
                    let labels = spec["selector"]["matchLabels"].members
                    return labels.isEmpty ? "every workload" : Self.labels(spec["selector"]["matchLabels"])
                },
                Detail(title: "LIMITS") { resource in
                    let spec = resource["spec"]
                    return Self.figures(spec["destination"].members.isEmpty ? spec["workload"] : spec["destination"])
                },
            ]
        default:
            []
        }
    }

    /// Members with their values, as in `maxConnections=100`.
    private static func figures(_ value: JSONValue) -> Cell { Cell(value.members.compactMapValues(\.text)) }

    private static func ejection(_ value: JSONValue) -> Cell {
        guard case .object = value else { return Cell(nil) }
        return value.members.isEmpty ? "by default" : Self.figures(value)
    }

    /// The labels of the priority without their domains.
    private static func locality(_ value: JSONValue) -> Cell {
        let setting = value["localityLbSetting"]
        guard case .object = setting else { return Cell(nil) }
        if setting["enabled"].text == "false" { return "off" }
        let labels = setting["failoverPriority"].elements.compactMap(\.text)
        return labels.isEmpty
            ? "on" : Cell(labels.map { String($0.split(separator: "/").last ?? "") })
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
