#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""An OpenTelemetry collector for tests: takes trace requests over HTTP, decodes them by OpenTelemetry's own messages
(the package opentelemetry-proto, which Tools/setup installs), and writes one line of JSON for each span.

    collector.py PORT FILE [ERRORS]

The first ERRORS requests are answered with 503."""

import http.server
import json
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[3] / ".build" / "python"))

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2  # noqa: E402

port, output = int(sys.argv[1]), pathlib.Path(sys.argv[2])
errors = int(sys.argv[3]) if len(sys.argv) > 3 else 0


def plain(value):
    return getattr(value, value.WhichOneof("value"))


def span_lines(request):
    for group in request.resource_spans:
        resource = {item.key: plain(item.value) for item in group.resource.attributes}
        for scope in group.scope_spans:
            for span in scope.spans:
                yield json.dumps({
                    "resource": resource,
                    "scope": scope.scope.name,
                    "trace": span.trace_id.hex(),
                    "span": span.span_id.hex(),
                    "parent": span.parent_span_id.hex(),
                    "name": span.name,
                    "kind": span.kind,
                    "start": span.start_time_unix_nano,
                    "end": span.end_time_unix_nano,
                    "status": span.status.code,
                    "attributes": {item.key: str(plain(item.value)) for item in span.attributes},
                    "events": [event.name for event in span.events],
                })


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        global errors
        body = self.rfile.read(int(self.headers["content-length"]))
        if errors > 0:
            errors -= 1
            self.answer(503, b"")
            return
        if self.path != "/v1/traces" or self.headers["content-type"] != "application/x-protobuf":
            self.answer(400, b"")
            return
        request = trace_service_pb2.ExportTraceServiceRequest.FromString(body)
        with output.open("a") as file:
            for line in span_lines(request):
                file.write(line + "\n")
        with output.with_suffix(".headers").open("a") as file:
            file.write(self.headers.get("x-test", "") + "\n")
        self.answer(200, trace_service_pb2.ExportTraceServiceResponse().SerializeToString())

    def answer(self, status, body):
        self.send_response(status)
        self.send_header("content-type", "application/x-protobuf")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


server = http.server.HTTPServer(("127.0.0.1", port), Handler)
print("ready", flush=True)
server.serve_forever()
