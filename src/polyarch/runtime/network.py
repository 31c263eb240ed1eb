"""What a step knows of the network by files: its /etc/hosts and /etc/resolv.conf."""

from __future__ import annotations

from typing import Any

from polyarch.runtime.step import Network

__all__ = ["hosts_file", "resolv_conf"]

Json = dict[str, Any]


def hosts_file(hostname: str, extra: tuple[tuple[str, str], ...] = ()) -> str:
    """Return the content of a step's /etc/hosts; `extra` holds pairs of name and address."""
    lines = [f"127.0.0.1\tlocalhost {hostname}", "::1\tlocalhost ip6-localhost ip6-loopback"]
    return "".join(f"{line}\n" for line in (*lines, *(f"{ip}\t{name}" for name, ip in extra)))


_PUBLIC_SERVERS = ("8.8.8.8", "8.8.4.4", "2001:4860:4860::8888", "2001:4860:4860::8844")


def resolv_conf(host: str, network: Network, *, dns: Json | None = None) -> str:
    """Return the content of a step's /etc/resolv.conf, made from the host's.

    On the host's network it is the host's own. Else name servers on the loopback interface can't be
    reached and are left out, and public ones stand in if none remain. `dns` holds the lists
    `nameservers`, `options` and `searchDomains` of the daemon's configuration; each replaces its kind.
    """
    given = dns or {}
    kinds = {"nameserver": "nameservers", "search": "searchDomains", "options": "options"}
    replaced = {word for word, key in kinds.items() if given.get(key)}
    lines = [line for line in host.splitlines() if _keyword(line) not in replaced]
    lines += [f"nameserver {server}" for server in given.get("nameservers") or ()]
    if given.get("searchDomains"):
        lines.append("search " + " ".join(given["searchDomains"]))
    if given.get("options"):
        lines.append("options " + " ".join(given["options"]))
    if network is not Network.HOST:
        lines = [line for line in lines if not _is_loopback_server(line)]
        if not any(_keyword(line) == "nameserver" for line in lines):
            lines += [f"nameserver {server}" for server in _PUBLIC_SERVERS]
    return "".join(f"{line}\n" for line in lines)


def _keyword(line: str) -> str:
    return line.partition("#")[0].partition(";")[0].split(" ")[0].strip()


def _is_loopback_server(line: str) -> bool:
    words = line.split()
    return words[:1] == ["nameserver"] and words[1:2] != [] and words[1].startswith(("127.", "::1"))
