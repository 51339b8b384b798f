# SPDX-License-Identifier: Apache-2.0
"""Certificates for the peers: an authority, a leaf for each node, and an impostor of another authority.

P-256 like nodemesh's own. The names are the node's, as DNS name and as SPIFFE ID.
"""

from labkit import kernel

from .world import RUN

DIRECTORY = RUN / "certificates"
AUTHORITY = str(DIRECTORY / "authority.crt")


def spiffe(node):
    return f"spiffe://bench.internal/node/{node}"


def certificate(name):
    return str(DIRECTORY / f"{name}.crt")


def key(name):
    return str(DIRECTORY / f"{name}.key")


def bundle(name):
    """Certificate and key in one file, as HAProxy wants them."""
    return str(DIRECTORY / f"{name}.pem")


def make():
    DIRECTORY.mkdir()
    for authority in ("authority", "stranger"):
        kernel.run("openssl", "req", "-x509", *_key(authority), "-subj", f"/CN=bench {authority}", "-days", "2",
                   "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign",
                   "-out", certificate(authority))
    _leaf("node1", "node1", "authority")
    _leaf("node2", "node2", "authority")
    # Says it is node2, by an authority nobody trusts.
    _leaf("impostor", "node2", "stranger")


def _key(name):
    return ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-sha256", "-keyout", key(name)]


def _leaf(name, node, authority):
    request, extensions = DIRECTORY / f"{name}.csr", DIRECTORY / f"{name}.ext"
    extensions.write_text(
        "basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\n"
        f"extendedKeyUsage=serverAuth,clientAuth\nsubjectAltName=DNS:{node},URI:{spiffe(node)}\n"
    )
    kernel.run("openssl", "req", *_key(name), "-subj", f"/CN={node}", "-out", request)
    kernel.run("openssl", "x509", "-req", "-in", request, "-CA", certificate(authority), "-CAkey", key(authority),
               "-CAcreateserial", "-days", "2", "-sha256", "-extfile", extensions, "-out", certificate(name))
    with open(bundle(name), "w") as both:
        for part in (certificate(name), key(name)):
            with open(part) as source:
                both.write(source.read())
