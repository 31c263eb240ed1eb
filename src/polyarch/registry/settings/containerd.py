"""containerd's `certs.d/HOST/hosts.toml`: who is asked for the images of a registry, and how.

    server = "https://registry-1.docker.io"         # the last to be asked; else the registry itself
    ca = "ca.crt"                                   # paths are relative to the directory

    [host."https://mirror.example/path"]            # asked at https://mirror.example/path/v2
    capabilities = ["pull", "resolve", "push"]      # all of them unless it says otherwise
    ca = ["a.crt", "b.crt"]
    client = [["client.cert", "client.key"]]        # or a file that holds both
    skip_verify = true
    override_path = true                            # nothing is put behind the path
    [host."https://mirror.example/path".header]
    x-tenant = "ours"

A directory is named `HOST`, or `HOST_PORT_` for a port; `_default` is for registries without one of their own. A
directory without the file holds certificates as Docker's does. What is pushed goes to the first host that may push,
as with containerd. Source: containerd's documentation, docs/hosts.md.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from polyarch.record import frozen, replace
from polyarch.registry.settings.rules import EVERYTHING, Manner, Rule, Way
from polyarch.registry.settings.texts import StrPath, Table, flag, parsed_toml, text, texts

__all__ = ["ContainerdHosts"]

_CAPABILITIES = ("pull", "resolve", "push")
_DEFAULT = "_default"


@frozen
class ContainerdHosts:
    """A level that is read when a registry is asked for: a directory of directories, one for each of them."""

    directories: tuple[StrPath, ...]

    def find(self, domain: str, path: str) -> Rule | None:
        """Return what a registry's directory says. Raises InputError naming the file."""
        del path  # settings are for whole registries
        for root in reversed(self.directories):
            found = _read(root, _names(domain), domain)
            if found is not None:
                return found
        return None

    def find_general(self) -> Rule | None:
        """Return what `_default` says."""
        for root in reversed(self.directories):
            found = _read(root, (_DEFAULT,), EVERYTHING)
            if found is not None:
                return found
        return None


def _names(domain: str) -> tuple[str, ...]:
    host, colon, port = domain.rpartition(":")
    return (f"{host}_{port}_", domain) if colon else (domain,)


def _read(root: StrPath, names: Iterable[str], scope: str) -> Rule | None:
    for name in names:
        if not os.path.isdir(f"{root}/{name}"):
            continue
        directory = Path(root) / name
        path = directory / "hosts.toml"
        rule = parsed_toml(path, partial(_rule, directory), None)
        if rule is None:
            return Rule(
                scope=scope,
                manner=Manner(directories=(directory,)),
                sources=(str(directory),),
            )
        return replace(rule, scope=scope, sources=(str(path),))
    return None


def _rule(directory: Path, data: Table) -> Rule:
    hosts = data.get("host", {})
    if not isinstance(hosts, dict):
        raise TypeError("host is a table of tables")
    server = text(data, "server")
    own = _way(server, data, directory) if server else Way(writes=_may(data, "push"))
    return Rule(
        manner=_manner(None, data, directory),
        ways=tuple(_way(address, table, directory) for address, table in hosts.items()),
        own=replace(own, resolves=_may(data, "resolve"), reads=_may(data, "pull")),
    )


def _way(address: str, table: Table, directory: Path) -> Way:
    split = urlsplit(address if "://" in address else f"https://{address}")
    if split.scheme not in {"http", "https"} or not split.netloc:
        raise ValueError(f"{address!r} is no address of http or https")
    path = split.path.rstrip("/")
    if not path.endswith("/v2") and not flag(table, "override_path"):
        path += "/v2"
    return Way(
        host=split.netloc,
        base=f"{path}/",
        manner=_manner(split.scheme == "http", table, directory),
        resolves=_may(table, "resolve"),
        reads=_may(table, "pull"),
        writes=_may(table, "push"),
    )


def _may(table: Table, capability: str) -> bool:
    told = texts(table, "capabilities") or _CAPABILITIES
    for each in told:
        if each.lower() not in _CAPABILITIES:
            raise ValueError(f"a host can {', '.join(_CAPABILITIES)}, not {each!r}")
    return capability in (each.lower() for each in told)


def _manner(http: bool | None, table: Table, directory: Path) -> Manner:
    return Manner(
        http=http,
        insecure=flag(table, "skip_verify"),
        authorities=tuple(directory / each for each in _listed(table, "ca")),
        keypairs=tuple(_pair(each, directory) for each in _clients(table)),
        headers=tuple(_headers(table.get("header", {}))),
    )


def _listed(table: Table, key: str) -> tuple[str, ...]:
    """Return a text, or a list of them."""
    return (text(table, key),) if isinstance(table.get(key), str) else texts(table, key)


def _clients(table: Table) -> list[Any]:
    found = table.get("client", [])
    return found if isinstance(found, list) else [found]


def _pair(told: object, directory: Path) -> tuple[Path, Path]:
    """Return a certificate and its key, which may be in one file."""
    names = [told, told] if isinstance(told, str) else told
    if not isinstance(names, list) or list(map(type, names)) != [str, str]:
        raise ValueError(f"a client is a file, or a certificate and its key, not {told!r}")
    certificate, key = names
    return directory / certificate, directory / key


def _headers(table: dict[str, Any]) -> Iterable[tuple[str, str]]:
    for name in table:
        value = ", ".join(_listed(table, name))
        if any(character in name + value for character in "\r\n"):
            raise ValueError(f"the header {name!r} has more than one line")
        yield name, value
