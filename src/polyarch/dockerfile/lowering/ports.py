"""Words of EXPOSE -> ports of the image config: `[[address:]host port:]port[-port][/protocol]`.

What stands before the container's port is checked and then forgotten, as BuildKit does
(`dockerfile2llb/convert_expose.go`).
"""

from __future__ import annotations

import ipaddress  # urllib.parse has loaded it

from polyarch.errors import DockerfileError
from polyarch.pattern import pattern

__all__ = ["parse_ports"]

_NUMBER = pattern(r"[0-9]+")
_PROTOCOLS = frozenset(("sctp", "tcp", "udp"))
_MAX_PORT = 65535
_HINT = "write 80, 80/udp or 8000-8010"


def parse_ports(word: str) -> list[str]:
    """Return the ports that a word names, as `port/protocol`, lowest first. Raises DockerfileError."""
    *outer, inner = word.split(":")
    port, _, protocol = inner.partition("/")
    if not port:
        raise DockerfileError(f"no port specified: {inner}<empty>", hint=_HINT)
    protocol = protocol.lower() or "tcp"
    if protocol not in _PROTOCOLS:
        raise DockerfileError(
            f"invalid proto: {protocol}", hint="the protocols are tcp, udp and sctp"
        )
    _check_address(":".join(outer[:-1]))
    ports = _range(port, "containerPort")
    if outer and outer[-1]:
        host_ports = _range(outer[-1], "hostPort")
        if len(ports) not in {1, len(host_ports)}:
            raise DockerfileError(
                f"invalid ranges specified for container and host Ports: {port} and {outer[-1]}"
            )
    return [f"{number}/{protocol}" for number in ports]


def _check_address(address: str) -> None:
    if not address:
        return
    bare = address[1:-1] if address.startswith("[") and address.endswith("]") else address
    try:
        # Go knows no zones here.
        is_valid = "%" not in bare and bool(ipaddress.ip_address(bare))
    except ValueError:
        is_valid = False
    if not is_valid:
        raise DockerfileError(f"invalid IP address: {bare}", hint=_HINT)


def _range(text: str, what: str) -> range:
    first, dash, last = text.partition("-")
    numbers = (first, last) if dash else (first, first)
    if all(_NUMBER.fullmatch(each) and len(each.lstrip("0")) <= 5 for each in numbers):
        # Without zeros in front, of which Python converts only so many.
        low, high = (int(each.lstrip("0") or "0") for each in numbers)
        if low <= high <= _MAX_PORT:
            return range(low, high + 1)
    raise DockerfileError(f"invalid {what}: {text}", hint=_HINT)
