"""What a file says of a registry, as values, and how a name finds what is said of it.

A *rule* is for a scope: a registry (`host:port`), a part of one (`host/path`), all hosts below a domain (`*.example.com`),
a network, or everything (`*`). The files of one program are a *level*: in it the narrowest scope counts.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from polyarch.record import field, frozen

__all__ = [
    "EVERYTHING",
    "Level",
    "Manner",
    "Rule",
    "Rules",
    "Way",
    "in_network",
    "is_network",
    "mirror_way",
]

EVERYTHING = "*"
"""The scope of settings that aren't for one registry."""


@frozen
class Manner:
    """How a machine is spoken to.

    `http` None is for whatever is usual. With `http` and `insecure` TLS is tried first. `directories` hold certificates
    as Docker's `certs.d` does. `headers` go with each request, and nowhere else.
    """

    http: bool | None = None
    insecure: bool = False
    authorities: tuple[Path, ...] = ()
    keypairs: tuple[tuple[Path, Path], ...] = ()
    directories: tuple[Path, ...] = ()
    headers: tuple[tuple[str, str], ...] = field(default=(), repr=False)


@frozen
class Way:
    """A machine that is asked in the place of a registry.

    `host` is empty for the registry itself. `base` is the path before the name of a repository, and ends with a slash;
    of that name `drops` is left out first, which ends with a slash, too. `manner` None is what is said of the
    machine where it is named by itself. `is_told` says whether it hears which registry is meant (`?ns=`).
    """

    host: str = ""
    base: str = "/v2/"
    drops: str = ""
    manner: Manner | None = None
    is_told: bool = True
    resolves: bool = True
    """Whether it may say what a tag stands for."""
    reads: bool = True
    """Whether content is fetched from it."""
    writes: bool = False
    """Whether what is pushed goes there."""


def mirror_way(mirror: str) -> Way:
    """Return the way to a mirror, `host` or `host/path`, whose path goes behind `/v2`; it may begin with a scheme.

    Plain HTTP is what its own settings say, or `http://`.
    """
    scheme, _, address = mirror.rpartition("://")
    host, _, path = address.partition("/")
    return Way(
        host=host,
        base=f"/v2/{path.strip('/')}/" if path.strip("/") else "/v2/",
        manner=Manner(http=True) if scheme == "http" else None,
    )


@frozen
class Rule:
    """What is said of a scope: who is asked, in this order, and how the registry itself is spoken to.

    `network` is in the place of a scope, `10.0.0.0/8`. `own` is the last to be asked; what is pushed goes to the first that
    `writes`, else to the registry of the name. `sources` are the files and variables that say so.
    """

    scope: str = ""
    network: str = ""
    manner: Manner = Manner()
    ways: tuple[Way, ...] = ()
    own: Way = Way()
    is_blocked: bool = False
    sources: tuple[str, ...] = field(default=(), compare=False)


class Level(Protocol):
    """What the files of one program say."""

    def find(self, domain: str, path: str) -> Rule | None:
        """Return what is said of a repository, or of a whole registry if `path` is empty."""

    def find_general(self) -> Rule | None:
        """Return what is said of registries that aren't named."""


@frozen
class Rules:
    """A level that has been read."""

    rules: tuple[Rule, ...] = ()

    def find(self, domain: str, path: str) -> Rule | None:
        """Return the rule of the narrowest scope, the last one of two for the same."""
        best: tuple[int, Rule] | None = None
        for rule in self.rules:
            width = _match(rule.scope, domain, path)
            if width and (best is None or width >= best[0]):
                best = width, rule
        if best is not None:
            return best[1]
        # Finding out which network a machine is in may need a name server.
        return next((rule for rule in self.rules if in_network(domain, rule.network)), None)

    def find_general(self) -> Rule | None:
        """Return the last rule for everything."""
        general = (rule for rule in reversed(self.rules) if rule.scope == EVERYTHING)
        return next(general, None)


def _match(scope: str, domain: str, path: str) -> int:
    """Return how much of a name is meant by a scope; 0 if it isn't meant."""
    if scope == domain or (path and f"{domain}/{path}/".startswith(f"{scope}/")):
        return len(scope)
    # Any number of labels, as containers' programs have it.
    if scope.startswith("*.") and domain.partition(":")[0].endswith(scope[1:]):
        return len(scope)
    return 0


def is_network(text: str) -> bool:
    """Tell whether a text is a network: an address, a slash and a number."""
    address, slash, length = text.partition("/")
    return bool(slash) and length.isdecimal() and (":" in address or _is_dotted(address))


def _is_dotted(address: str) -> bool:
    parts = address.split(".")
    return len(parts) == 4 and all(part.isdecimal() for part in parts)


def in_network(domain: str, network: str) -> bool:
    """Tell whether a machine, with or without a port, has an address in a network; "" is none.

    A name is looked up, as Docker's engine does it; one that isn't known is in no network.
    """
    if not network:
        return False
    # Few have such settings: 5 ms.
    import ipaddress  # noqa: PLC0415

    wanted = ipaddress.ip_network(network, strict=False)
    return any(ipaddress.ip_address(address) in wanted for address in _addresses(domain))


def _addresses(domain: str) -> Iterable[str]:
    host, _, port = domain.rpartition(":")
    name = host if host and port.isdecimal() else domain
    try:
        found = socket.getaddrinfo(name.strip("[]"), None, 0, socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    # An address of this very link has its interface behind it.
    return [str(address[0]).partition("%")[0] for *_, address in found]
