# SPDX-License-Identifier: Apache-2.0
"""nginx: its stream module as a peer, and the HTTP server in the pods."""

from . import certificates, tools
from .peer import LOCAL, SUITE, Peer
from .world import ADDRESS, INBOUND, OUTBOUND, PORTS, RUN

MAIN = """{module}user root;
daemon off;
worker_processes {workers};
error_log {log} error;
pid {pid};
events {{ worker_connections {connections}; }}
"""


def command(world, name, workers, body, connections=19900):
    """The command that runs nginx with such a configuration."""
    module = f"load_module {tools.STREAM_MODULE};\n" if "stream {" in body and tools.STREAM_MODULE.exists() else ""
    log = RUN / "logs" / f"{name}.error"
    head = MAIN.format(module=module, workers=workers, log=log, pid=RUN / f"{name}.pid", connections=connections)
    return ["nginx", "-c", world.write(f"{name}.conf", head + body), "-e", str(log)]


def web_server(world, name):
    """Serves 1 KB from memory on keep-alive connections."""
    root = RUN / "www"
    root.mkdir(exist_ok=True)
    (root / "kilobyte").write_text("k" * 1024)
    return command(world, name, 1, f"""http {{
  access_log off;
  sendfile on;
  tcp_nopush on;
  open_file_cache max=16;
  keepalive_requests 100000000;
  keepalive_timeout 300;
  default_type text/plain;
  server {{ listen {PORTS['http']} backlog=16384; root {root}; }}
}}
""")


class Nginx(Peer):
    name, title = "nginx", "nginx stream"
    setting = "stream on both nodes; TLS sessions resume (its default)"
    programs = ("nginx",)

    def unavailable(self):
        return super().unavailable() or (None if tools.nginx_has_stream() else "nginx has no stream module")

    def version(self):
        return tools.version(["nginx", "-v"], r"nginx/(\d+\.\d+\.\d+)")

    def run(self, world, node, lines, servers):
        common = ["proxy_timeout 1h;", "proxy_connect_timeout 5s;", "proxy_half_close on;"]
        body = "\n  ".join(["stream {", *common, *lines, *servers]) + "\n}\n"
        name = f"{self.name}-{node}"
        world.spawn(node, command(world, name, self.workers, body), name)

    def start(self, world, impostor=False):
        world.guard(closed=True)
        resumption = "on" if self.settings.resumption else "off"
        self.run(world, "node1", [
            "proxy_ssl on;", "proxy_ssl_protocols TLSv1.3;", f"proxy_ssl_conf_command Ciphersuites {SUITE};",
            f"proxy_ssl_certificate {certificates.certificate('node1')};",
            f"proxy_ssl_certificate_key {certificates.key('node1')};",
            f"proxy_ssl_trusted_certificate {certificates.AUTHORITY};",
            "proxy_ssl_verify on;", "proxy_ssl_name node2;", "proxy_ssl_server_name on;",
            f"proxy_ssl_session_reuse {resumption};",
        ], (f"server {{ listen {ADDRESS['node1']}:{OUTBOUND[name]} reuseport backlog=16384;"
            f" proxy_pass {ADDRESS['node2']}:{INBOUND[name]}; }}" for name in PORTS))
        shown = "impostor" if impostor else "node2"
        self.run(world, "node2", [
            "ssl_protocols TLSv1.3;", f"ssl_conf_command Ciphersuites {SUITE};", "ssl_ecdh_curve X25519;",
            f"ssl_certificate {certificates.certificate(shown)};", f"ssl_certificate_key {certificates.key(shown)};",
            f"ssl_client_certificate {certificates.AUTHORITY};", "ssl_verify_client on;",
            f"ssl_session_tickets {resumption};",
        ], (f"server {{ listen {ADDRESS['node2']}:{INBOUND[name]} ssl reuseport backlog=16384;"
            f" proxy_pass {ADDRESS['server']}:{PORTS[name]}; }}" for name in PORTS))


class NginxLocal(Nginx):
    name, group = "nginx-local", LOCAL
    setting = "one proxy, no TLS"
    encrypts = False

    def start(self, world, impostor=False):
        world.guard(closed=True)
        self.run(world, "node1", [], (
            f"server {{ listen {ADDRESS['node1']}:{OUTBOUND[name]} reuseport backlog=16384;"
            f" proxy_pass {ADDRESS['local']}:{PORTS[name]}; }}" for name in PORTS))
