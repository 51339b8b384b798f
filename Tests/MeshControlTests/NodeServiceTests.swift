// SPDX-License-Identifier: Apache-2.0

import Foundation
import GRPCCore
import MeshAPI
import MeshAdminAPI
import MeshConfiguration
import MeshIdentity
import MeshModel
import MeshStore
import SwiftProtobuf
import Testing
import X509

@testable import MeshControl

@Suite struct NodeServiceTests {
    private func authenticated(_ name: String, _ fixture: Fixture) async throws -> AuthenticatedNode {
        let node = try await fixture.joined(name)
        return AuthenticatedNode(name: name, joinID: node.joinID, notAfter: .distantFuture)
    }

    private func code(_ body: () async throws -> some Any) async -> RPCError.Code? {
        do {
            _ = try await body()
            return nil
        } catch {
            return (error as? RPCError)?.code
        }
    }

    private func leaf(_ chain: [String]) throws -> Certificate {
        let pem = try #require(chain.first)
        return try #require(try Certificate.parse(pem: pem).first)
    }

    // MARK: - Joining

    @Test func aTokenAndARequestMakeANode() async throws {
        let fixture = try await Fixture()
        let token = try await fixture.plane.operators.createJoinToken(.init(node: nil))
        #expect(token.command.contains("nodemeshctl install-node --control control.test:15012"))
        #expect(token.command.contains(token.token))
        let key = IdentityKey()
        let request = try fixture.joinRequest("n1", token: token.token, key: key)
        let response = try await fixture.plane.nodes.join(request)
        #expect(response.trustDomain == "mesh.internal")
        let bundle = try TrustBundle(pem: response.trustBundle)
        let identity = try #require(SPIFFEID("spiffe://mesh.internal/node/n1"))
        let svid = try await SVID(
            identity: identity, chainPEM: response.certChain, key: key, bundle: bundle, now: .now)
        #expect(try await fixture.plane.store.node("n1", presenting: svid.serial) != nil)
        #expect(await self.code { try await fixture.plane.nodes.join(request) } == .unauthenticated)
    }

    @Test func aRequestThatCannotBeSignedLeavesTheTokenUnused() async throws {
        let fixture = try await Fixture()
        let token = try await fixture.plane.operators.createJoinToken(.init(node: "n1")).token
        var request = try fixture.joinRequest("n1", token: token)
        let good = request.csr
        request.csr = "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"
        #expect(await self.code { try await fixture.plane.nodes.join(request) } == .invalidArgument)
        request.csr = try fixture.joinRequest("n2", token: token).csr
        #expect(await self.code { try await fixture.plane.nodes.join(request) } == .invalidArgument)
        request.csr = good
        #expect(await self.code { try await fixture.plane.nodes.join(request) } == nil)
    }

    @Test(arguments: ["", "a b", "..", "a/b", String(repeating: "x", count: 254)])
    func badNodeNamesAreRefused(_ name: String) async throws {
        let fixture = try await Fixture()
        var request = Nodemesh_V1_JoinRequest()
        request.nodeName = name
        request.token = try await fixture.plane.operators.createJoinToken(.init()).token
        #expect(await self.code { try await fixture.plane.nodes.join(request) } == .invalidArgument)
    }

    @Test(arguments: ["", "nmjt", "nmjt..", "nmjt.id.short", "nmjt.a.b.c", "other.id.0123456789abcdef0123"])
    func badTokensAreRefused(_ token: String) async throws {
        let fixture = try await Fixture()
        let request = try fixture.joinRequest("n1", token: token)
        #expect(await self.code { try await fixture.plane.nodes.join(request) } == .unauthenticated)
    }

    // MARK: - Registering

    @Test func registeredWorkloadsAreThere() async throws {
        let fixture = try await Fixture()
        let node = try await self.authenticated("n1", fixture)
        let response = try await fixture.plane.nodes.sync(sync([registration("web", address: "10.0.0.1")]), of: node)
        #expect(response.refusals.isEmpty)
        #expect(response.heartbeatIntervalSeconds == 10)
        let workloads = try await fixture.plane.operators.workloads()
        #expect(workloads.map(\.identity) == ["spiffe://mesh.internal/ns/shop/sa/web"])
        #expect(workloads.first?.isHealthy == true)
        #expect(try await fixture.plane.operators.nodes().first?.workloads == 1)
    }

    @Test func eachBadWorkloadIsRefusedByItself() async throws {
        let fixture = try await Fixture()
        let node = try await self.authenticated("n1", fixture)
        var badLabel = registration("label", address: "10.0.0.2")
        badLabel.labels = ["": "x"]
        var noAddress = registration("none", address: "10.0.0.3")
        noAddress.addresses = []
        var heavy = registration("heavy", address: "10.0.0.6")
        heavy.weight = 1_000_001
        let bad = [
            registration("UPPER", address: "10.0.0.4"), registration("virtual", address: "240.240.1.1"),
            registration("loop", address: "127.0.0.1"), registration("text", address: "ten"),
            registration("account", address: "10.0.0.5", account: "a/b"), badLabel, noAddress, heavy,
            registration("multicast", address: "224.0.0.1"),
        ]
        let response = try await fixture.plane.nodes.sync(
            sync([registration("good", address: "10.0.0.1")] + bad), of: node)
        #expect(response.refusals.count == bad.count)
        #expect(try await fixture.plane.operators.workloads().map(\.name) == ["good"])
    }

    @Test func aNodeThatCannotBeReachedIsRefused() async throws {
        let fixture = try await Fixture()
        let node = try await self.authenticated("n1", fixture)
        let faults: [(inout Nodemesh_V1_SyncWorkloadsRequest) -> Void] = [
            { $0.tunnelPort = 0 }, { $0.tunnelPort = 65_536 }, { $0.nodeAddresses = [] },
            { $0.nodeAddresses = ["0.0.0.0"] }, { $0.nodeAddresses = ["somewhere"] },
            { $0.locality = "eu//rack" },
            {
                $0.workloads = Array(
                    repeating: registration("w", address: "10.0.0.1"), count: RegistrationReader.maximumWorkloads + 1)
            },
        ]
        for fault in faults {
            var request = sync([])
            fault(&request)
            #expect(await self.code { try await fixture.plane.nodes.sync(request, of: node) } == .invalidArgument)
        }
    }

    @Test func aNameBelongsToOneNode() async throws {
        let fixture = try await Fixture()
        let (n1, n2) = (try await self.authenticated("n1", fixture), try await self.authenticated("n2", fixture))
        _ = try await fixture.plane.nodes.sync(sync([registration("web", address: "10.0.0.1")]), of: n1)
        let response = try await fixture.plane.nodes.sync(sync([registration("web", address: "10.0.0.2")]), of: n2)
        #expect(response.refusals.map(\.name) == ["web"])
        #expect(response.refusals.first?.reason.contains("node n1") == true)
    }

    @Test func aDeletedNodeIsVoid() async throws {
        let fixture = try await Fixture()
        let node = try await self.authenticated("n1", fixture)
        _ = try await fixture.plane.nodes.sync(sync([registration("web", address: "10.0.0.1")]), of: node)
        try await fixture.plane.operators.deleteNode("n1")
        #expect(try await fixture.plane.operators.workloads().isEmpty)
        #expect(await self.code { try await fixture.plane.nodes.sync(sync([]), of: node) } == .unauthenticated)
    }

    // MARK: - Authentication

    @Test func onlyAnIssuedCertificateOfALivingNodeAuthenticates() async throws {
        let fixture = try await Fixture()
        let (store, authority) = (fixture.plane.store, fixture.plane.authority)
        let authenticator = NodeAuthenticator(
            store: store, trustDomain: "mesh.internal", metrics: fixture.plane.metrics)
        let token = try await fixture.plane.operators.createJoinToken(.init(node: "n1")).token
        let response = try await fixture.plane.nodes.join(fixture.joinRequest("n1", token: token))
        let certificate = try self.leaf(response.certChain)
        #expect(try await authenticator.authenticate(certificate, now: .now).name == "n1")

        let never = await self.code { try await authenticator.authenticate(nil, now: .now) }
        #expect(never == .unauthenticated)
        let expired = await self.code {
            try await authenticator.authenticate(certificate, now: .now.addingTimeInterval(8 * 86_400))
        }
        #expect(expired == .unauthenticated)
        // Signed by the right authority, for the right name, but never given to the node: not in the log.
        let identity = try #require(SPIFFEID("spiffe://mesh.internal/node/n1"))
        let stray = try authority.sign(
            csrPEM: try SigningRequest.make(key: IdentityKey(), identity: identity), identity: identity, validity: 60,
            now: .now)
        #expect(
            await self.code { try await authenticator.authenticate(stray.certificate, now: .now) } == .unauthenticated)
        // A workload's certificate is no node's.
        let account = try #require(SPIFFEID("spiffe://mesh.internal/ns/shop/sa/web"))
        let workload = try authority.sign(
            csrPEM: try SigningRequest.make(key: IdentityKey(), identity: account), identity: account, validity: 60,
            now: .now)
        #expect(
            await self.code { try await authenticator.authenticate(workload.certificate, now: .now) }
                == .unauthenticated)
        try await fixture.plane.operators.deleteNode("n1")
        #expect(await self.code { try await authenticator.authenticate(certificate, now: .now) } == .unauthenticated)
    }

    // MARK: - Certificates

    private func certificateRequest(
        _ identity: String, key: IdentityKey = IdentityKey(), csrFor other: String? = nil
    ) throws -> Istio_V1_Auth_IstioCertificateRequest {
        var request = Istio_V1_Auth_IstioCertificateRequest()
        let named = try #require(SPIFFEID(other ?? identity))
        request.csr = try SigningRequest.make(key: key, identity: named)
        request.metadata = Google_Protobuf_Struct(
            fields: ["ImpersonatedIdentity": Google_Protobuf_Value(stringValue: identity)])
        return request
    }

    @Test func aNodeGetsOnlyTheIdentitiesItRuns() async throws {
        let fixture = try await Fixture()
        let (n1, n2) = (try await self.authenticated("n1", fixture), try await self.authenticated("n2", fixture))
        let web = "spiffe://mesh.internal/ns/shop/sa/web"
        let request = try self.certificateRequest(web)
        let service = fixture.plane.certificates
        #expect(await self.code { try await service.issue(request, to: n1) } == .permissionDenied)
        _ = try await fixture.plane.nodes.sync(sync([registration("web", address: "10.0.0.1")]), of: n1)
        let chain = try await service.issue(request, to: n1)
        let leaf = try self.leaf(chain)
        #expect(try leaf.spiffeID().description == web)
        #expect(chain.count == 2)
        #expect(await self.code { try await service.issue(request, to: n2) } == .permissionDenied)
        for other in [
            "spiffe://mesh.internal/ns/other/sa/web", "spiffe://mesh.internal/ns/shop/sa/db",
            "spiffe://mesh.internal/node/n2",
        ] {
            let request = try self.certificateRequest(other)
            #expect(await self.code { try await service.issue(request, to: n1) } == .permissionDenied, "\(other)")
        }
        _ = try await fixture.plane.nodes.sync(sync([], generation: 2), of: n1)
        #expect(await self.code { try await service.issue(request, to: n1) } == .permissionDenied)
        let log = try await fixture.plane.operators.certificates()
        #expect(log.filter { $0.identity == web }.map(\.node) == ["n1"])
    }

    @Test func aNodeRenewsItsOwn() async throws {
        let fixture = try await Fixture()
        let node = try await self.authenticated("n1", fixture)
        let own = "spiffe://mesh.internal/node/n1"
        let chain = try await fixture.plane.certificates.issue(self.certificateRequest(own), to: node)
        let leaf = try self.leaf(chain)
        #expect(try await fixture.plane.store.node("n1", presenting: leaf.serialText) != nil)
        try await fixture.plane.operators.deleteNode("n1")
        let request = try self.certificateRequest(own)
        #expect(
            await self.code { try await fixture.plane.certificates.issue(request, to: node) } == .unauthenticated)
    }

    @Test func nothingButTheAskedForIdentityIsSigned() async throws {
        let fixture = try await Fixture()
        let node = try await self.authenticated("n1", fixture)
        let service = fixture.plane.certificates
        let own = "spiffe://mesh.internal/node/n1"
        let disguised = try self.certificateRequest(own, csrFor: "spiffe://mesh.internal/node/n2")
        #expect(await self.code { try await service.issue(disguised, to: node) } == .invalidArgument)
        for identity in ["spiffe://other/node/n1", "not a SPIFFE ID", "spiffe://mesh.internal/ns/a/sa/b/c"] {
            var request = try self.certificateRequest(own)
            request.metadata.fields["ImpersonatedIdentity"] = Google_Protobuf_Value(stringValue: identity)
            #expect(await self.code { try await service.issue(request, to: node) } == .invalidArgument)
        }
    }

    @Test func nobodyGetsMoreTimeThanConfigured() async throws {
        let fixture = try await Fixture {
            $0.svidTTL = 60
            $0.nodeTTL = 600
        }
        let node = try await self.authenticated("n1", fixture)
        for (asked, expected) in [(Int64(60), 60.0), (0, 600), (-5, 600), (.max, 600)] {
            var request = try self.certificateRequest("spiffe://mesh.internal/node/n1")
            request.validityDuration = asked
            let chain = try await fixture.plane.certificates.issue(request, to: node)
            let leaf = try self.leaf(chain)
            #expect(abs(leaf.notValidAfter.timeIntervalSinceNow - expected) < 30)
        }
    }
}
