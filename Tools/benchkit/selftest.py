# SPDX-License-Identifier: Apache-2.0
"""Tests of what needs no topology: statistics, reading, goals, tables, picture, load. `Tools/bench selftest` runs them."""

import json
import socket
import subprocess
import tempfile
import time
import unittest
import xml.etree.ElementTree
from pathlib import Path

from . import counts, goals, peers, picture, runner, steps, tables, tools
from .peer import ACROSS, LOCAL, Settings
from .results import Results, short_number, spread


def sample(peer, step, repetition=1, **figures):
    return {"peer": peer, "step": step, "repetition": repetition, "figures": figures, "foreign": 0, "stolen": 0,
            "noisy": False}


class ResultsTest(unittest.TestCase):
    def setUp(self):
        self.results = Results(samples=[
            sample("a", "stream1", 1, gbps=10), sample("a", "stream1", 2, gbps=14), sample("a", "stream1", 3, gbps=11),
            sample("b", "stream1", gbps=5),
        ])

    def test_median_and_ratio(self):
        self.assertEqual(self.results.median("a", "stream1", "gbps"), 11)
        self.assertEqual(self.results.ratio("a", "b", "stream1", "gbps"), 2.2)
        self.assertEqual(self.results.added("a", "stream1", "gbps", base="b"), 6)

    def test_ratios_pair_repetitions(self):
        results = Results(samples=[
            sample("a", "ping", 1, p50=10), sample("b", "ping", 1, p50=10), sample("a", "ping", 2, p50=30),
            sample("b", "ping", 2, p50=20), sample("a", "ping", 3, p50=8), sample("b", "ping", 3, p50=10),
            sample("a", "ping", 4, p50=1),
        ])
        self.assertEqual(results.paired("a", "b", "ping", "p50"), [1, 1.5, 0.8])
        self.assertEqual(results.paired_median("a", "b", "ping", "p50"), 1)
        results.samples[3]["noisy"] = True
        self.assertEqual(results.paired("a", "b", "ping", "p50"), [1, 0.8])
        self.assertIsNone(results.paired_median("a", "c", "ping", "p50"))

    def test_what_was_not_measured_has_no_median(self):
        self.assertIsNone(self.results.median("a", "stream1", "rate"))
        self.assertIsNone(self.results.median("c", "stream1", "gbps"))
        self.assertIsNone(self.results.ratio("a", "c", "stream1", "gbps"))
        self.assertIsNone(self.results.added("a", "stream1", "gbps", base="c"))

    def test_noisy_samples_count_only_where_no_quiet_one_is(self):
        self.results.samples[1]["noisy"] = True
        self.assertEqual(self.results.values("a", "stream1", "gbps"), ([10, 11], False))
        for one in self.results.samples:
            one["noisy"] = True
        self.assertEqual(self.results.values("a", "stream1", "gbps"), ([10, 14, 11], True))
        self.assertEqual(spread(self.results, "a", "stream1", "gbps"), "11.0 (10.0–14.0)~")

    def test_what_was_repeated_or_failed_does_not_count(self):
        self.results.samples[0]["superseded"] = True
        del self.results.samples[1]["figures"]
        self.results.samples[1]["error"] = "it fell"
        self.assertEqual(self.results.values("a", "stream1", "gbps"), ([11], False))
        self.assertEqual([one["error"] for one in self.results.errors()], ["it fell"])

    def test_spread(self):
        self.assertEqual(spread(self.results, "a", "stream1", "gbps"), "11.0 (10.0–14.0)")
        self.assertEqual(spread(self.results, "b", "stream1", "gbps", scale=2), "10.0")
        self.assertEqual(spread(self.results, "c", "stream1", "gbps"), "-")

    def test_saved_runs_load_as_one(self):
        with tempfile.TemporaryDirectory() as directory:
            paths = [Path(directory) / name for name in ("one.json", "two.json")]
            Results({"date": "today"}, self.results.samples[:2]).save(paths[0])
            Results({"date": "later"}, self.results.samples[2:]).save(paths[1])
            merged = Results.load(paths)
        self.assertEqual(merged.about, {"date": "today"})
        self.assertEqual(merged.medians()["a"]["stream1"]["gbps"], [11, 10, 14])

    def test_numbers(self):
        for value, text in [(None, "-"), (0, "0.00"), (0.0041, "0.0041"), (0.064, "0.064"), (0.5, "0.50"),
                            (3.14159, "3.14"), (31.4159, "31.4"), (314.159, "314"), (31415.9, "31,416"), (-31.4159, "-31.4")]:
            self.assertEqual(short_number(value), text)


class ReadingTest(unittest.TestCase):
    def test_iperf3(self):
        answer = {"end": {"sum_received": {"bytes": 5e9, "bits_per_second": 1e10}}}
        self.assertEqual(steps.read_iperf3(json.dumps(answer)), {"gbps": 10, "gigabytes": 5})
        with self.assertRaisesRegex(ValueError, "server is busy"):
            steps.read_iperf3('{"error": "the server is busy"}')

    def test_wrk(self):
        output = """  Latency Distribution
     50%  324.00us
     75%    1.00ms
     90%    1.50ms
     99%    2.00s
  57260 requests in 1.00s, 70.00MB read
  Socket errors: connect 0, read 1, write 0, timeout 2
Requests/sec:  57012.30
"""
        self.assertEqual(steps.read_wrk(output), {
            "rate": 57012.3, "operations": 57260, "errors": 3, "p50": 324, "p90": 1500, "p99": 2e6})
        with self.assertRaises(ValueError):
            steps.read_wrk("unable to connect")
        with self.assertRaises(ValueError):
            steps.read_wrk(output + "  Non-2xx or 3xx responses: 5\n")

    def test_load(self):
        answer = {"count": 10, "total": 12, "seconds": 2, "rate": 5, "p50": 1, "p90": 2, "p99": 3, "p999": 4, "most": 5, "errors": 0}
        figures = steps.read_load(json.dumps(answer))
        self.assertEqual((figures["operations"], figures["rate"], figures["p999"]), (12, 5, 4))
        with self.assertRaisesRegex(ValueError, "7 errors"):
            steps.read_load(json.dumps({**answer, "count": 0, "errors": 7}))

    def test_cpu_by_amount(self):
        figures = steps.with_cpu({"gigabytes": 4}, {"node1": 1, "node2": 3}, user=2)
        self.assertEqual((figures["cpu_per_gb"], figures["cpu_per_gb_node2"], figures["cpu_per_gb_user"]), (1, 0.75, 0.5))
        figures = steps.with_cpu({"operations": 1000}, {"node1": 0.001, "node2": 0.002})
        self.assertAlmostEqual(figures["cpu_each"], 3)
        self.assertEqual(steps.with_cpu({"gigabytes": 4}, {}), {"gigabytes": 4})
        self.assertEqual(steps.with_cpu({"gigabytes": 4}, {}, 0, 2)["cpu_per_gb_everybody"], 0.5)

    def test_strace(self):
        total, by_name = counts.read_strace("""% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.006000           6      1000        20 recvfrom
 40.00    0.004000           4       500           epoll_wait
------ ----------- ----------- --------- --------- ----------------
100.00    0.010000           6      1500        20 total
""")
        self.assertEqual((total, by_name), (1500, {"recvfrom": 1000, "epoll_wait": 500}))
        with self.assertRaises(ValueError):
            counts.read_strace("")

    def test_perf(self):
        self.assertEqual(counts.read_perf("# started\n\n12345,,instructions:u,1000,100.00,,\n"), (12345, {}))
        kinds = "100,,cpu_core/instructions:u/,1000,100.00,,\n20,,cpu_atom/instructions:u/,1000,100.00,,\n"
        self.assertEqual(counts.read_perf(kinds), (120, {}))
        with self.assertRaises(ValueError):
            counts.read_perf("<not supported>,,instructions:u,0,100.00,,\n")

    def test_growth(self):
        start = {"node1": {"anonymous": 1000}, "node2": {"anonymous": 500}}
        held = {"node1": {"anonymous": 2000}, "node2": {"anonymous": 3500}}
        figures = runner.growth(start, held, 1000)
        self.assertEqual(figures["idle1000_anonymous_node1"], 1024)
        self.assertEqual(figures["per_connection"], 3072)


class PlanTest(unittest.TestCase):
    def test_peers_and_steps_have_names_of_their_own(self):
        self.assertEqual(len({one.name for one in peers.ALL}), len(peers.ALL))
        self.assertEqual(len(set(steps.NAMES)), len(steps.NAMES))
        self.assertEqual({one.name for one in peers.ALL}, {*tables.ACROSS, *tables.LOCAL})
        self.assertTrue(all(one.family() in steps_of_families() for one in peers.ALL))

    def test_each_repetition_begins_with_another_peer(self):
        made = [one(Settings()) for one in peers.ALL]
        runs = runner.Runner(None, made, runner.Plan(3, steps.NAMES), Results(), print)
        orders = [runs.order(repetition) for repetition in (1, 2, 3)]
        self.assertEqual(len({order[0].name for order in orders}), 3)
        for order in orders:
            self.assertEqual({one.name for one in order}, {one.name for one in made})
            self.assertEqual([one.group for one in order], sorted((one.group for one in order), key=[ACROSS, LOCAL].index))

    def test_what_one_adds_to_the_other_is_measured_of_those_two(self):
        step = steps.named("connect")
        self.assertEqual({one.name for one in peers.ALL if step.is_for(one)}, {"plain-local", *tables.OWN})
        self.assertTrue(all(steps.named("ping").is_for(one) for one in peers.ALL))

    def test_one_variant_alone_measures_enrolment(self):
        self.assertEqual([one.name for one in peers.ALL if one.enrols], ["nodemesh-local"])

    def test_commands(self):
        stream, ping, http = (steps.named(name) for name in ("stream1", "requests", "http"))
        self.assertEqual(list(map(str, stream.command("load", "10.0.0.1", 1, 4))),
                         ["iperf3", "-c", "10.0.0.1", "-p", "1", "-J", "-t", "4", "-P", "1"])
        self.assertEqual(list(map(str, ping.command("load", "10.0.0.1", 1, 0.5))),
                         ["load", "ping", "10.0.0.1", "1", "16", "1024", "0.5"])
        self.assertIn("http://10.0.0.1:80/kilobyte", http.command("load", "10.0.0.1", 80, 3))

    def test_whole_seconds_where_a_tool_knows_no_others(self):
        for step in steps.ALL:
            if step.tool in ("iperf3", "wrk"):
                self.assertTrue(all(isinstance(time, int) for time in (step.seconds, step.local, step.quick)), step.name)

    def test_a_missing_peer_says_so(self):
        with tempfile.TemporaryDirectory() as directory:
            made = next(one for one in peers.ALL if one.name == "nodemesh")(Settings(binaries=directory))
            self.assertIn("--build", made.unavailable())
        self.assertEqual(tools.missing(["surely-no-such-program", "sh"]), ["surely-no-such-program"])


def steps_of_families():
    return {"plain", "nodemesh", "envoy-tcp", "envoy-connect", "haproxy", "nginx"}


class LoadTest(unittest.TestCase):
    """The load generator, over loopback."""

    @classmethod
    def setUpClass(cls):
        cls.directory = tempfile.TemporaryDirectory()
        cls.addClassCleanup(cls.directory.cleanup)
        cls.load = str(Path(cls.directory.name) / "load")
        tools.compile_load(cls.load)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            cls.port = str(free.getsockname()[1])
        server = subprocess.Popen([cls.load, "echo", cls.port])
        cls.addClassCleanup(server.wait)
        cls.addClassCleanup(server.kill)
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", int(cls.port)), timeout=5).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.02)

    def run_load(self, verb, *words, input=None):
        done = subprocess.run([self.load, verb, "127.0.0.1", self.port, *words], capture_output=True, text=True,
                              input=input, timeout=60)
        return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr

    def test_verify(self):
        self.assertEqual(self.run_load("verify", "3000000"), (0, [{"bytes": 3000000}], ""))

    def test_verify_tells_wrong_bytes_and_a_lost_end(self):
        for spoil, text in ((lambda data: data[:5000] + b"x" + data[5001:], "byte 5000 came back wrong"),
                            (lambda data: data[:-1], "9999 of 10000 bytes came back")):
            with self.subTest(text), socket.create_server(("127.0.0.1", 0)) as server:
                port = str(server.getsockname()[1])
                client = subprocess.Popen([self.load, "verify", "127.0.0.1", port, "10000"], text=True,
                                          stderr=subprocess.PIPE)
                connection, _ = server.accept()
                with connection:
                    data = b""
                    while len(data) < 10000:
                        data += connection.recv(10000)
                    connection.sendall(spoil(data))
                self.assertIn(text, client.communicate(timeout=60)[1])
                self.assertEqual(client.returncode, 1)

    def test_measuring(self):
        for verb, *words in (("ping", "1", "64", "0.1"), ("ping", "4", "1024", "0.1"), ("short", "4", "64", "0.1")):
            status, lines, errors = self.run_load(verb, *words)
            self.assertEqual((status, len(lines), errors), (0, 1, ""))
            self.assertEqual(lines[0]["errors"], 0)
            self.assertGreater(lines[0]["total"], lines[0]["count"])
            self.assertGreater(lines[0]["count"], 0)
            percentiles = [lines[0][key] for key in ("p50", "p90", "p99", "p999", "most")]
            self.assertEqual(percentiles, sorted(percentiles))
            self.assertGreater(percentiles[0], 0)

    def test_idle(self):
        status, lines, _ = self.run_load("idle", "10", "30", input="\n\n")
        self.assertEqual((status, [line["alive"] for line in lines]), (0, [10, 30]))

    def test_misuse(self):
        for words in (["ping", "0", "64", "1"], ["ping", "1", "70000", "1"], ["dance", "1"], ["short", "1", "1", "-1"]):
            self.assertEqual(self.run_load(words[0], *words[1:])[0], 2, words)


class OutputTest(unittest.TestCase):
    def setUp(self):
        self.results = Results({"processor": "A & B", "peers": {"envoy-tcp": {
            "title": "Envoy <TCP>", "setting": "as is", "version": "1"}}}, [
            sample("plain", "ping", p50=10, p99=20), sample("nodemesh", "ping", p50=20, p99=60),
            sample("envoy-tcp", "ping", p50=30, p99=70),
            sample("nodemesh", "stream1", gbps=8, cpu_per_gb=0.5), sample("envoy-tcp", "stream1", gbps=5, cpu_per_gb=1),
            sample("nodemesh", "memory", per_connection=2048, start_rss_node1=1024 * 40, start_rss_node2=1024 * 60,
                   idle1000_anonymous_node1=2048, idle1000_anonymous_node2=1024),
        ])

    def test_goals(self):
        lines = {goal.text: goal.line(self.results).split()[0] for goal in goals.ALL}
        self.assertEqual(lines["one stream, of Envoy TCP's throughput"], "met")
        self.assertEqual(lines["one stream, of HAProxy's throughput"], "not")
        self.assertEqual(lines["64 B ping-pong, median time added to plain TCP, of what Envoy TCP adds"], "met")
        self.assertEqual(lines["64 B ping-pong, 99th percentile added to plain TCP, of what Envoy TCP adds"], "MISSED")
        self.assertEqual(lines["user-space memory of an idle connection on the worse node"], "MISSED")
        # The worse node counts.
        self.assertEqual(lines["daemon at start, resident"], "MISSED")
        self.assertEqual(goals.missed(self.results), 3)

    def test_goals_on_one_node(self):
        results = Results(samples=[
            sample("plain-local", "ping", p50=10), sample("nodemesh-local", "ping", p50=10.1),
            sample("nodemesh-local-redirect", "ping", p50=9.5), sample("nodemesh-local-bystander", "ping", p50=10),
            sample("plain-local", "connect", p50=50), sample("nodemesh-local", "connect", p50=60),
            sample("nodemesh-local", "enrolment", enrol_p50=4, enrol_p99=9, workloads=50, start_seconds=1, workload_kb=8),
        ])
        lines = {goal.text: goal.line(results).split()[0] for goal in goals.ALL}
        self.assertEqual(lines["on one node: 64 B ping-pong, of plain TCP's median"], "met")
        self.assertEqual(lines["on one node: 64 B ping-pong from veth to veth, of plain TCP's median"], "MISSED")
        self.assertEqual(lines["on one node: 64 B ping-pong of pods not enrolled, of plain TCP's median"], "met")
        self.assertEqual(lines["on one node: a new connection, of plain TCP's median"], "MISSED")
        self.assertEqual(lines["enrolling a workload, median"], "met")
        text = tables.text(results)
        self.assertIn("### On one node: nodemesh's ratios to plain TCP", text)
        self.assertIn("### Enrolment", text)

    def test_tables(self):
        text = tables.text(self.results)
        self.assertIn("### 64 B ping-pong on one connection", text)
        self.assertNotIn("### HTTP", text)
        row = next(line for line in text.splitlines() if "Envoy <TCP>" in line and "5.00" in line)
        self.assertIn("1.60 ×", row)

    def test_summary_between_marks(self):
        block = tables.for_document(self.results, "docs/bench.svg")
        document = f"before\n{tables.BEGIN}\nold\n{tables.END}\nafter\n"
        filled = tables.insert(document, block)
        self.assertTrue(filled.startswith("before\n") and filled.endswith("\nafter\n"))
        self.assertNotIn("old", filled)
        self.assertIn("(docs/bench.svg)", filled)
        self.assertEqual(tables.insert(filled, block), filled)
        row = next(line for line in filled.splitlines() if line.startswith("| nodemesh"))
        self.assertEqual([cell.strip() for cell in row.split("|")[2:6]], ["8.00", "0.50", "10.0", "40.0"])
        with self.assertRaises(ValueError):
            tables.insert("no marks", block)

    def test_rows_are_aligned(self):
        lines = tables.aligned([["", "µs"], ["a long name", "1"], ["b", "1,000"]])
        self.assertEqual(len({len(line) for line in lines}), 1)
        self.assertEqual(lines[1][-2:], ":|")

    def test_picture(self):
        root = xml.etree.ElementTree.fromstring(picture.svg(self.results))
        texts = [element.text for element in root.iter() if element.tag.endswith("text")]
        self.assertIn("Envoy <TCP>", texts)
        self.assertIn("One stream, Gbit/s", texts)
        # One bar alone says nothing.
        self.assertNotIn("Memory of an idle connection, KB", texts)
        bars = [element for element in root.iter() if element.tag.endswith("rect")]
        own = next(bar for bar in bars if bar.get("class") == "own")
        self.assertGreater(float(own.get("width")), float(bars[bars.index(own) + 1].get("width")))

    def test_nothing_measured(self):
        self.assertIn("Medians", tables.text(Results()))
        xml.etree.ElementTree.fromstring(picture.svg(Results()))
        self.assertEqual(goals.missed(Results()), 0)
