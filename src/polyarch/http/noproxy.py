"""Which machines are spoken to directly, where there is a proxy: `NO_PROXY`.

It lists names, addresses and networks, separated by commas or blanks, each with a port if only that is meant. A name is that
of a machine or of a domain, with or without a leading dot or `*.`; `*` is everything. Names aren't looked up.
Source: the documentation of Go's httpproxy, whose meaning docker has; curl's, for blanks.
"""

from __future__ import annotations

from urllib.parse import urlsplit

__all__ = ["is_excepted"]

_PORTS = {"http": 80, "https": 443}


def is_excepted(scheme: str, host: str, told: str) -> bool:
    """Tell whether requests to `host`, with or without port, go past the proxy."""
    exceptions = told.replace(",", " ").split()
    if not exceptions:
        return False
    name, port = _parts(host)
    port = port or _PORTS.get(scheme, 0)
    return any(_means(each.lower(), name, port) for each in exceptions)


def _means(exception: str, name: str, port: int) -> bool:
    if exception == "*":
        return True
    if "/" in exception:
        return _is_in(name, exception)
    wanted, only = _parts(exception)
    bare = wanted.removeprefix("*").removeprefix(".")
    if not bare or (only and only != port):
        return False
    return name == bare or name.endswith(f".{bare}")


def _parts(host: str) -> tuple[str, int]:
    """Return the name, in lower case and without brackets, and the port, 0 if there is none."""
    if host.count(":") > 1 and not host.startswith("["):
        return host.lower(), 0  # an address of version 6 by itself
    try:
        split = urlsplit(f"//{host}")
        return split.hostname or "", split.port or 0
    except ValueError:
        return host.lower(), 0


def _is_in(name: str, network: str) -> bool:
    # Few have such settings: 5 ms.
    import ipaddress  # noqa: PLC0415

    try:
        return ipaddress.ip_address(name) in ipaddress.ip_network(network, strict=False)
    except ValueError:
        return False  # a name, or no network
