"""How a machine is spoken to once that has to be in TLS: whom to trust, and what to show."""

from __future__ import annotations

from pathlib import Path

from polyarch.pattern import pattern
from polyarch.record import frozen

__all__ = ["Endpoint", "is_loopback"]

_LOOPBACK = pattern(r"(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?\Z")


@frozen
class Endpoint:
    """A machine, and what is known of its certificates; connections to equal ones are alike.

    `host` has a port if it isn't the usual one. `insecure` is TLS that trusts anyone; `authorities` are
    trusted beside those that everyone trusts. Each of `keypairs` is a client's certificate and its key.
    """

    host: str
    insecure: bool = False
    authorities: tuple[Path, ...] = ()
    keypairs: tuple[tuple[Path, Path], ...] = ()


def is_loopback(host: str) -> bool:
    """Return whether `host`, with or without port, is this machine."""
    return _LOOPBACK.match(host) is not None
