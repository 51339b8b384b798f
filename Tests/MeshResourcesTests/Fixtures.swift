// SPDX-License-Identifier: Apache-2.0

import MeshAdminAPI
import MeshModel
import MeshResources
import Testing

let service = """
    apiVersion: v1
    kind: Service
    metadata:
      name: web
      namespace: shop
    spec:
      selector:
        app: web
      ports:
      - port: 80
        targetPort: 8080
    """

/// The resources of a text that has to be right.
func resources(_ text: String, usage: ResourceDecoder.Usage = .apply) throws -> [Resource] {
    switch ResourceDecoder.decode(text: text, usage: usage) {
    case .success(let resources): return resources
    case .failure(let error):
        Issue.record("refused: \(error.problems)")
        throw error
    }
}

/// The problems of a text that has to be wrong.
func problems(
    _ text: String, limits: ResourceLimits = ResourceLimits(), usage: ResourceDecoder.Usage = .apply
) -> [ResourceProblem] {
    switch ResourceDecoder.decode(text: text, limits: limits, usage: usage) {
    case .success(let resources):
        Issue.record("accepted: \(resources)")
        return []
    case .failure(let error): return error.problems
    }
}

/// A document of a kind with the given lines of its spec.
func document(
    _ kind: String, _ apiVersion: String = "security.istio.io/v1", namespace: String = "shop", annotation: String = "",
    spec: String
) -> String {
    let lines = spec.split(separator: "\n", omittingEmptySubsequences: false).map { "  " + $0 }.joined(separator: "\n")
    return """
        apiVersion: \(apiVersion)
        kind: \(kind)
        metadata:
          name: it
          namespace: \(namespace)
        \(annotation.isEmpty ? "" : "  annotations:\n    \(annotation)")
        spec:
        \(lines)
        """
}

func authorizationPolicy(_ text: String) throws -> AuthorizationPolicyResource {
    guard case .authorizationPolicy(let policy) = try resources(text).first else {
        throw InvalidResources(problems: [])
    }
    return policy
}

func peerAuthentication(_ text: String) throws -> PeerAuthenticationResource {
    guard case .peerAuthentication(let value) = try resources(text).first else {
        throw InvalidResources(problems: [])
    }
    return value
}
