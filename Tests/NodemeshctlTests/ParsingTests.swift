// SPDX-License-Identifier: Apache-2.0

import ArgumentParser
import MeshAdminAPI
import MeshModel
import Testing

@testable import MeshCLI

/// Every verb's command line, taken or refused.
struct ParsingTests {
    private func parse<Command: ParsableCommand>(_ type: Command.Type, _ line: String) throws -> Command {
        try #require(Nodemeshctl.parseAsRoot(line.split(separator: " ").map(String.init)) as? Command)
    }

    @Test func enrolment() throws {
        let verb = try self.parse(
            WorkloadEnroll.self,
            "workload enroll --cgroup /sys/fs/cgroup/a --namespace shop --name web --service-account web "
                + "--label app=web -l v=2 --network-namespace /run/netns/web --address 10.1.0.2 --address fd00::2 "
                + "--weight 7")
        #expect(verb.weight == 7)
        #expect(verb.target.cgroup == "/sys/fs/cgroup/a")
        #expect(verb.namespace == "shop")
        #expect(verb.name == "web")
        #expect(verb.label == [.init(key: "app", value: "web"), .init(key: "v", value: "2")])
        #expect(verb.address.map(\.description) == ["10.1.0.2", "fd00::2"])
        let least = try self.parse(WorkloadEnroll.self, "workload enrol --pid 12 --name web")
        #expect(least.target.pid == 12)
        #expect(least.weight == nil)
        #expect(least.namespace == nil)
        #expect(least.serviceAccount == nil)
    }

    @Test func steering() throws {
        let verb = try self.parse(
            WorkloadEnroll.self,
            "workload enroll --unit redis.service --exclude-port 53 --exclude-port 123 --exclude-inbound-port 22 "
                + "--exclude-cidr 10.1.0.0/16 --exclude-cidr fd00::/8 --fail-mode open --original-dst "
                + "--when-gone forget")
        #expect(verb.target.unit == "redis.service")
        #expect(verb.whenGone == .forget)
        var request = EnrolRequest(namespace: "a", name: "b", serviceAccount: "c", labels: [:], cgroup: "/d")
        verb.steering.fill(&request)
        #expect(request.excludedOutboundPorts == [53, 123])
        #expect(request.excludedInboundPorts == [22])
        #expect(request.excludedPrefixes == ["10.1.0.0/16", "fd00::/8"])
        #expect(request.failMode == "open")
        #expect(request.answersOriginalDestination == true)
        let template = try self.parse(
            WorkloadEnroll.self,
            "workload enroll --template --cgroup apps.slice --name-pattern app-(?<name>.+) --label app=$name "
                + "--no-guard --template-name apps")
        #expect(template.template && template.noGuard)
        #expect(template.templateName == "apps")
        _ = try self.parse(WorkloadEnroll.self, "workload enroll --container 0123456789ab --name web")
        _ = try self.parse(WorkloadEnroll.self, "workload enroll --pod-uid x --name web")
    }

    @Test func tokens() throws {
        let verb = try self.parse(JoinTokenCreate.self, "join-token create --node n1 --ttl 15m")
        #expect(verb.node == "n1")
        #expect(verb.ttl == 900)
        _ = try self.parse(JoinTokenList.self, "join-token list")
        #expect(try self.parse(JoinTokenDelete.self, "join-token delete abc").id == "abc")
    }

    @Test func resources() throws {
        let apply = try self.parse(ApplyCommand.self, "apply -f a.yaml b.yaml -f dir --dry-run")
        #expect(apply.files == ["a.yaml", "b.yaml", "dir"])
        #expect(apply.dryRun)
        #expect(try self.parse(ApplyCommand.self, "apply -f -").files == ["-"])
        let get = try self.parse(GetCommand.self, "get svc web -n shop")
        #expect(get.kind.text == "svc")
        #expect(get.name == "web")
        #expect(get.namespace == "shop")
        #expect(try self.parse(GetCommand.self, "get services -A").allNamespaces)
        let delete = try self.parse(DeleteCommand.self, "delete AuthorizationPolicy shop/deny --ignore-not-found")
        #expect(delete.name == "shop/deny")
        #expect(delete.ignoreNotFound)
        #expect(try self.parse(DeleteCommand.self, "delete -f x").files == ["x"])
    }

    @Test func inspection() throws {
        let connections = try self.parse(ConnectionsCommand.self, "connections --workload shop/web")
        #expect(connections.workload == WorkloadID(namespace: "shop", name: "web"))
        let explain = try self.parse(ExplainCommand.self, "explain shop/client web:80")
        #expect(explain.source == "shop/client")
        _ = try self.parse(CheckCommand.self, "check")
        _ = try self.parse(StatusCommand.self, "status")
        #expect(try self.parse(VersionCommand.self, "version --client").client)
        #expect(try self.parse(ServiceList.self, "service list --all").scope.all)
        #expect(try self.parse(CertificateList.self, "certificate list").scope.all == false)
        #expect(try self.parse(WorkloadList.self, "workload list -o wide").output.output == .wide)
        #expect(try self.parse(WorkloadUnenroll.self, "workload unenroll a/b").workload?.name == "b")
        #expect(try self.parse(WorkloadUnenroll.self, "workload unenroll --template t").template == "t")
        #expect(try self.parse(WorkloadList.self, "workload list --templates").templates)
        #expect(try self.parse(ConnectionsCommand.self, "connections --uncaptured").uncaptured)
        _ = try self.parse(BPFStatusCommand.self, "bpf status -o wide")
        let events = try self.parse(
            EventsCommand.self, "events -f --workload a/b --identity x --reason captured,inactive_refused --since 5m")
        #expect(events.follow && events.since == 300)
        _ = try self.parse(NodeList.self, "node list")
        #expect(try self.parse(NodeDelete.self, "node delete n1").name == "n1")
    }

    @Test func commonOptionsStandAnywhere() throws {
        for line in ["--node-socket /x -o json workload list", "workload list --node-socket /x -o json"] {
            let verb = try self.parse(WorkloadList.self, line)
            #expect(verb.node.nodeSocket == "/x")
            #expect(verb.output.output == .json)
        }
    }

    @Test(arguments: [
        "nonsense", "workload", "bpf", "workload enroll", "workload enroll --name web",
        "workload enroll --name web --pid 1 --cgroup /x", "workload enroll --name web --pid 0",
        "workload enroll --name WEB --pid 1", "workload enroll --name web --pid 1 --label app",
        "workload enroll --name web --pid 1 --label a=1 --label a=2",
        "workload enroll --name web --pid 1 --address 10.0.0.300", "workload enroll --name web --pid 1 --weight 0",
        "workload enroll --name web --pid 1 --weight 1000001",
        "workload enroll --name web --pid 1 --network-namespace web", "workload unenroll web",
        "join-token create --ttl 15", "join-token create --ttl -5m", "join-token delete", "node delete",
        "apply", "apply file.yaml", "get", "get svc web -A", "get svc -A -n x", "get svc a/b/c", "get svc a/b -n c",
        "get ../x", "delete", "delete svc", "delete -f x -n shop", "explain a/b",
        "explain web x:80", "explain a/b x", "connections --workload web", "workload list -o xml", "check extra",
        "status --bogus", "workload enroll --name web --unit a --pid 1",
        "workload enroll --template --name web", "workload enroll --template --pid 1",
        "workload enroll --template --cgroup x --when-gone wait", "workload enroll --pid 1 --name a --no-guard",
        "workload enroll --pid 1 --name web --exclude-port 0", "workload enroll --pid 1 --name web --exclude-cidr x",
        "workload enroll --pid 1 --name web --fail-mode ajar", "workload enroll --pid 1 --name web --when-gone maybe",
        "workload unenroll",
        "workload unenroll a/b --template c",
        "workload list --templates --all", "events --reason nonsense", "events --since soon", "events -f -o yaml",
    ])
    func refusesWithStatus2(line: String) async {
        let run = await CommandLineRun(line)
        // A noun alone shows its help.
        if ["workload", "bpf"].contains(line) {
            #expect(run.status == .success)
        } else {
            #expect(run.status == .usage)
            #expect(run.output.isEmpty)
            #expect(run.error.hasPrefix("Error: "))
        }
    }
}
