"""A step that reaches nothing but a proxy of ours: its network, the variables that name the proxy, the CA that it trusts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from polyarch.http.pools import Pools
from polyarch.record import field, frozen
from polyarch.registry.hosts import load_hosts
from polyarch.worker.proxied.authority import StepAuthority
from polyarch.worker.proxied.place import PORT, open_place
from polyarch.worker.proxied.records import Records
from polyarch.worker.proxied.server import ProxyServer

__all__ = ["Proxied", "proxied"]

_ADDRESS = f"http://127.0.0.1:{PORT}"
_LOCAL = "127.0.0.1,localhost,::1"


@frozen
class Proxied:
    """What a step gets, and what it asked for once it has ended. `variables` stand above those of the step."""

    namespace: str
    certificate: bytes
    records: Records
    variables: Mapping[str, str] = field(default_factory=dict)


def _variables() -> dict[str, str]:
    found = {"HTTP_PROXY": _ADDRESS, "HTTPS_PROXY": _ADDRESS, "NO_PROXY": _LOCAL}
    return found | {name.lower(): value for name, value in found.items()}


@contextmanager
def proxied(environ: Mapping[str, str], tell: Callable[[str], None]) -> Iterator[Proxied]:
    """Give a network for one step; at the end of the block its requests are told, as lines of the log.

    Raises MachineError where there can't be one.
    """
    authority, pools = StepAuthority(), Pools(environ)
    try:
        with open_place() as place:
            server = ProxyServer(place.listener, authority, load_hosts(environ).endpoint, pools)
            with server.serving() as records:
                yield Proxied(
                    namespace=place.path,
                    certificate=authority.certificate,
                    records=records,
                    variables=_variables(),
                )
        tell(records.text())
    finally:
        pools.close()
