"""Connections in TLS; loaded by the first of them, as OpenSSL takes 15 ms: a registry on the loopback needs none."""

from __future__ import annotations

import socket
import ssl

from polyarch.errors import InputError
from polyarch.http.connection import Connection
from polyarch.http.endpoint import Endpoint

__all__ = ["new_context", "secured", "tolerate"]


def secured(sock: socket.socket, host: str, context: ssl.SSLContext) -> Connection:
    """Return a connection through `sock` to `host`, whose name is checked. Raises OSError."""
    wrapped = context.wrap_socket(sock, server_hostname=host)
    # Nothing from the other side may still be a record of TLS, say a ticket for another session.
    return Connection(wrapped, says_nothing=ssl.SSLWantReadError)


def tolerate(context: ssl.SSLContext) -> ssl.SSLContext:
    """Have a context take the certificates that Go's programs take, whichever Python this is; returns it.

    From 3.13 on, Python refuses those that lack extensions of RFC 5280, and with them many a company's CA: `openssl req
    -x509` makes such. Until then, it took no file with a certificate for a CA that another CA has signed.
    """
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    return context


def new_context(endpoint: Endpoint, bundle: str | None) -> ssl.SSLContext:
    """Return whom connections to `endpoint` trust, and what they show of themselves.

    `bundle` is a file of CAs to trust beside the system's. Raises InputError for a file that can't be used.
    """
    # Takes $SSL_CERT_FILE and $SSL_CERT_DIR into account by itself.
    context = tolerate(ssl.create_default_context())
    path: object = bundle
    try:
        if bundle:
            context.load_verify_locations(bundle)
        for path in endpoint.authorities:
            context.load_verify_locations(path)
        for path, key in endpoint.keypairs:
            context.load_cert_chain(path, key)
    except OSError as error:
        raise InputError(
            f"can't use the certificate {path} for {endpoint.host}: {error}",
            hint="certificates and keys are files in PEM form",
        ) from error
    if endpoint.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
