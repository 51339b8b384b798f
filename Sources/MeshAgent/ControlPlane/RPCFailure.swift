// SPDX-License-Identifier: Apache-2.0

import GRPCCore
import MeshConfiguration
import MeshDiscovery

/// Turns what the gRPC library throws into what an operator can act on.
enum RPCFailure {
    static func translate(_ error: any Error, tls: ControlPlaneTLS?, address: HostPort) -> ControlPlaneError {
        if let reason = tls?.failure {
            return ControlPlaneError(
                .untrustedServer,
                "the server at \(address) is not this mesh's control plane: \(reason). If its root was changed while this node"
                    + " was away, join again: 'nodemeshctl join-token create', then restart nodemeshd with the token")
        }
        if let error = error as? DiscoveryError {
            return ControlPlaneError(error.code == .rolledBack ? .rolledBack : .badAnswer, error.message)
        }
        if error is CancellationError {
            return ControlPlaneError(.unreachable, "the call to the control plane was cancelled")
        }
        guard let error = error as? RPCError else {
            return self.unreachable(address, Self.text(of: error))
        }
        switch error.code {
        case .unauthenticated, .permissionDenied, .failedPrecondition, .invalidArgument, .notFound, .alreadyExists,
            .outOfRange, .resourceExhausted:
            return ControlPlaneError(.refused, "the control plane refused: \(error.message.prefix(1024))")
        case .unimplemented, .dataLoss, .internalError:
            return ControlPlaneError(.badAnswer, "the control plane failed: \(Self.text(of: error))")
        case .deadlineExceeded:
            return self.unreachable(address, "no answer in time")
        default:
            return self.unreachable(address, Self.text(of: error))
        }
    }

    private static func unreachable(_ address: HostPort, _ reason: String) -> ControlPlaneError {
        ControlPlaneError(
            .unreachable,
            "the control plane at \(address) cannot be reached, maybe it is down or a firewall blocks the port: \(reason)"
        )
    }

    /// The message and those of its causes.
    private static func text(of error: any Error) -> String {
        var (texts, current): ([String], (any Error)?) = ([], error)
        while let next = current, texts.count < 4 {
            if let error = next as? RPCError {
                texts.append(error.message)
                current = error.cause
            } else if let error = next as? RuntimeError {
                texts.append(error.message)
                current = error.cause
            } else {
                texts.append("\(next)")
                current = nil
            }
        }
        return String(texts.joined(separator: ": ").prefix(1024))
    }
}
