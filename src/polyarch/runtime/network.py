"""What a step knows of the network by files: its /etc/hosts and /etc/resolv.conf."""

from __future__ import annotations

from polyarch.runtime.step import Network

__all__ = ["hosts_file", "resolv_conf"]


def hosts_file(hostname: str, extra: tuple[tuple[str, str], ...] = ()) -> str:
    """Return the content of a step's /etc/hosts; `extra` holds pairs of name and address."""
    lines = [f"127.0.0.1\tlocalhost {hostname}", "::1\tlocalhost ip6-localhost ip6-loopback"]
    return "".join(f"{line}\n" for line in (*lines, *(f"{ip}\t{name}" for name, ip in extra)))


_PUBLIC_SERVERS = ("8.8.8.8", "8.8.4.4", "2001:4860:4860::8888", "2001:4860:4860::8844")


def resolv_conf(host: str, network: Network) -> str:
    """Return the content of a step's /etc/resolv.conf, made from the host's.

    On the host's network it is the host's own. Else name servers on the loopback interface can't be
    reached and are left out, and public ones stand in if none remain.
    """
    lines = host.splitlines()
    if network is not Network.HOST:
        lines = _reachable(lines)
    return "".join(f"{line}\n" for line in lines)


def _reachable(lines: list[str]) -> list[str]:
    """Leave out name servers that are only there on the host's network."""
    kept = [line for line in lines if not _is_loopback_server(line)]
    if any(_keyword(line) == "nameserver" for line in kept):
        return kept
    return [*kept, *(f"nameserver {server}" for server in _PUBLIC_SERVERS)]


def _keyword(line: str) -> str:
    return line.partition("#")[0].partition(";")[0].split(" ")[0].strip()


def _is_loopback_server(line: str) -> bool:
    words = line.split()
    return words[:1] == ["nameserver"] and words[1:2] != [] and words[1].startswith(("127.", "::1"))
