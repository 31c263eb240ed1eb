"""How a machine is spoken to: in HTTP or HTTPS, and by which certificates."""

from __future__ import annotations

import re
from pathlib import Path

from polyarch.record import frozen

__all__ = ["Endpoint", "is_loopback"]

_LOOPBACK = re.compile(r"(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?\Z")


@frozen
class Endpoint:
    """A machine that serves a registry.

    `host` has a port if it isn't the usual one; `prefix` comes behind `/v2`, and is empty or ends
    with a slash. `namespace` tells a mirror whose images are wanted. `plain` is HTTP; together with
    `insecure`, which is HTTPS that trusts anyone, HTTPS is tried first. Each of `keypairs` is a
    client's certificate and its key.
    """

    host: str
    prefix: str = ""
    namespace: str = ""
    plain: bool = False
    insecure: bool = False
    authorities: tuple[Path, ...] = ()
    keypairs: tuple[tuple[Path, Path], ...] = ()


def is_loopback(host: str) -> bool:
    """Return whether `host`, with or without port, is this machine."""
    return _LOOPBACK.match(host) is not None
