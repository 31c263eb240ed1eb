"""Docker's `daemon.json`: mirrors of Docker Hub, and registries that may be insecure."""

from __future__ import annotations

from polyarch.record import replace
from polyarch.registry.settings.rules import Manner, Rule, Rules, is_network, mirror_way
from polyarch.registry.settings.texts import StrPath, find_text, parsed, texts

__all__ = ["read_daemon"]

_DOCKER_HUB = "docker.io"
_EITHER = Manner(http=True, insecure=True)
"""TLS that nobody checks, else plain HTTP: what the engine does for a registry that is insecure."""


def read_daemon(path: StrPath) -> Rules:
    """Return what the configuration of Docker's engine says. Raises InputError naming the file.

    An insecure registry is one by its name or by its network. Source: docker's documentation of `dockerd`,
    "Insecure registries".
    """
    data = find_text(path)
    return parsed(path, lambda: _rules(data, str(path))) if data.strip() else Rules()


def _rules(data: str, source: str) -> Rules:
    # Only machines with an engine pay for it.
    import json  # noqa: PLC0415

    config = json.loads(data)
    found = []
    ways = []
    for mirror in texts(config, "registry-mirrors"):
        scheme, _, address = mirror.rpartition("://")
        ways.append(mirror_way(address))
        if scheme == "http":
            found.append(Rule(scope=ways[-1].host, manner=Manner(http=True)))
    if ways:
        found.append(Rule(scope=_DOCKER_HUB, ways=tuple(ways)))
    for name in texts(config, "insecure-registries"):
        if is_network(name):
            found.append(Rule(network=name, manner=_EITHER))
        else:
            bare = name.rpartition("://")[2].rstrip("/")
            found.append(Rule(scope=bare, manner=_EITHER))
    return Rules(rules=tuple(replace(rule, sources=(source,)) for rule in found))
