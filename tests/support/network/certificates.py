"""Certificates of servers on this machine, signed by a CA that nobody knows, made by openssl."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

__all__ = ["make_certificates", "make_client_certificate", "server_side"]


def make_certificates(directory: Path) -> None:
    """Write `ca.crt`, and `server.crt` and `server.key` for 127.0.0.1 and localhost."""

    def openssl(*words: str) -> None:
        subprocess.run(["openssl", *words], cwd=directory, check=True, capture_output=True)

    new = ("-newkey", "rsa:2048", "-nodes", "-days", "2")
    openssl("req", "-x509", *new, "-keyout", "ca.key", "-out", "ca.crt", "-subj", "/CN=tests CA")
    openssl("req", *new, "-keyout", "server.key", "-out", "server.csr", "-subj", "/CN=tests")
    (directory / "names").write_text("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    signer = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2")
    openssl("x509", "-req", "-in", "server.csr", *signer, "-out", "server.crt", "-extfile", "names")


def server_side(directory: Path) -> ssl.SSLContext:
    """Return how a server speaks TLS with the certificates of a directory."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "server.crt", directory / "server.key")
    # Whoever has a certificate may show it.
    context.load_verify_locations(directory / "ca.crt")
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def make_client_certificate(directory: Path) -> ssl.SSLContext:
    """Write `client.crt` and `client.key` beside a server's own, whose side of TLS is returned."""
    make_certificates(directory)
    new = ("-newkey", "rsa:2048", "-nodes", "-keyout", "client.key", "-out", "client.csr")
    signer = ("-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2")
    for words in (
        ("req", *new, "-subj", "/CN=me/O=tests"),
        ("x509", "-req", "-in", "client.csr", *signer, "-out", "client.crt"),
    ):
        subprocess.run(["openssl", *words], cwd=directory, check=True, capture_output=True)
    return server_side(directory)
