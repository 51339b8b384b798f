# SPDX-License-Identifier: Apache-2.0
"""All that is measured, in the order in which it is printed."""

from .envoy import EnvoyConnect, EnvoyLocal, EnvoyTCP
from .haproxy import HAProxy, HAProxyLargePipes, HAProxyLocal, HAProxySplice
from .nginx import Nginx, NginxLocal
from .nodemesh import (
    Nodemesh, NodemeshLocal, NodemeshLocalBystander, NodemeshLocalOutside, NodemeshLocalProxied, NodemeshLocalRedirect,
    NodemeshMoreLoops,
)
from .peer import Plain, PlainLocal

ALL = [
    Plain, Nodemesh, NodemeshMoreLoops, EnvoyTCP, EnvoyConnect, HAProxy, Nginx,
    PlainLocal, NodemeshLocal, NodemeshLocalRedirect, NodemeshLocalProxied, NodemeshLocalOutside, NodemeshLocalBystander,
    EnvoyLocal, HAProxyLocal, HAProxySplice, HAProxyLargePipes, NginxLocal,
]
