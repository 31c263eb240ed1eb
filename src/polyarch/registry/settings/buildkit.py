"""BuildKit's `buildkitd.toml`, and `registries.toml` of polyarch, which has the same form.

[registry."docker.io"]
mirrors = ["mirror.example", "mirror.example/path"]
[registry."mirror.example"]
http = false
insecure = false
ca = ["FILE"]
keypair = [{ cert = "FILE", key = "FILE" }]
tlsconfigdir = ["DIRECTORY"]
"""

from __future__ import annotations

from pathlib import Path

from polyarch.registry.settings.rules import Manner, Rule, Rules, mirror_way
from polyarch.registry.settings.texts import StrPath, Table, parsed_toml, tables, texts

__all__ = ["read_registries"]

_KEYS = ("ca", "http", "insecure", "keypair", "mirrors", "tlsconfigdir")
_HINT = 'a registry is set up by [registry."HOST"] with ' + ", ".join(_KEYS)


def read_registries(path: StrPath) -> Rules:
    """Return what a file says of registries. Raises InputError naming the file."""
    return parsed_toml(path, lambda data: _rules(data, str(path)), Rules(), _HINT)


def _rules(data: Table, source: str) -> Rules:
    registries = data.get("registry", {})
    if not isinstance(registries, dict):
        raise TypeError("registry is a table of tables")
    found = (_rule(name, table, source) for name, table in registries.items())
    return Rules(rules=tuple(found))


def _rule(name: str, table: Table, source: str) -> Rule:
    http = table.get("http")
    manner = Manner(
        http=None if http is None else bool(http),
        insecure=bool(table.get("insecure", False)),
        authorities=tuple(map(Path, texts(table, "ca"))),
        keypairs=tuple((Path(p["cert"]), Path(p["key"])) for p in tables(table, "keypair")),
        directories=tuple(map(Path, texts(table, "tlsconfigdir"))),
    )
    ways = tuple(map(mirror_way, texts(table, "mirrors")))
    return Rule(scope=name, manner=manner, ways=ways, sources=(source,))
