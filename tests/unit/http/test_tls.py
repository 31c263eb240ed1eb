"""Which certificates connections take; on every Python the same."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from polyarch.http.endpoint import Endpoint
from polyarch.http.tls import new_context
from tests.support.network.certificates import server_side


def shaken(authority: Path, certificates: Path) -> str:
    """Meet a server on this machine, of which an authority is trusted; returns the server's name in its certificate."""
    endpoint = Endpoint(host="localhost", authorities=(authority,))
    ours, theirs = socket.socketpair()

    def serve() -> None:
        with (
            theirs,
            server_side(certificates).wrap_socket(
                theirs, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=True
            ) as secured,
        ):
            try:
                secured.do_handshake()
            except OSError:
                return

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with new_context(endpoint, None).wrap_socket(ours, server_hostname="localhost") as met:
            return str(met.getpeercert()["subject"])  # type: ignore[index]
    finally:
        ours.close()
        thread.join()


@pytest.mark.parametrize("authority", ["ca.crt", "server.crt"])
def test_a_bare_authority_is_enough(certificates: Path, authority: str) -> None:
    # openssl makes the one without the extensions that RFC 5280 wants; the other was signed by the first.
    assert "tests" in shaken(certificates / authority, certificates)
