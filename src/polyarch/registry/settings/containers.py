"""`registries.conf` of podman, buildah and skopeo: `[[registry]]` with its mirrors.

    [[registry]]
    prefix = "example.com/foo"          # or "*.example.com"; what isn't given is as `location`
    location = "internal.example/bar"   # where it is read from
    insecure = true                     # TLS that nobody checks, else plain HTTP
    blocked = true
    mirror-by-digest-only = true
    [[registry.mirror]]
    location = "mirror.example/foo"
    insecure = true
    pull-from-mirror = "digest-only"

Names that leave out the registry are Docker Hub's, as in every Dockerfile: `unqualified-search-registries` and short
names don't count. A mirror that is for tags only is asked for content as well, since what a tag stands for is
then fetched by its digest. Prefixes with a tag or a digest are passed over. Version 1, which has lists, is read as well:

    [registries.insecure]
    registries = ["registry.example:5000"]
    [registries.block]
    registries = ["bad.example"]

Source: containers-registries.conf(5), containers-registries.conf.d(5).
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from polyarch.paths import config_directory
from polyarch.registry.settings.rules import Manner, Rule, Rules, Way
from polyarch.registry.settings.texts import (
    StrPath,
    Table,
    find_text,
    flag,
    parsed_toml,
    tables,
    text,
    texts,
)

__all__ = ["containers_files", "read_containers"]

_EITHER = Manner(http=True, insecure=True)
_FROM_MIRROR = frozenset({"", "all", "digest-only", "tag-only"})


def containers_files(environ: Mapping[str, str], machine: StrPath) -> Iterator[str]:
    """Give the files in the order in which they are read; they need not be there.

    `$CONTAINERS_REGISTRIES_CONF` is in the place of the first. A user's own file is in the place of all of the machine's,
    but a user's own `registries.conf.d` isn't.
    """
    named = environ.get("CONTAINERS_REGISTRIES_CONF")
    users = f"{config_directory(environ).parent}/containers"
    main = named or f"{users}/registries.conf"
    is_users = not named and os.access(main, os.F_OK)
    yield main if is_users or named else f"{machine}/containers/registries.conf"
    if not is_users:
        yield from _drop_ins(f"{machine}/containers/registries.conf.d")
    yield from _drop_ins(f"{users}/registries.conf.d")


def _drop_ins(directory: str) -> list[str]:
    try:
        names = sorted(os.listdir(directory))
    except OSError:
        return []  # the usual case
    return [f"{directory}/{name}" for name in names if name.endswith(".conf")]


def read_containers(path: StrPath) -> Rules:
    """Return what a file says of registries. Raises InputError naming the file."""
    # What distributions install has comments and short names, which take milliseconds to read.
    if not any(
        line.lstrip().startswith(("[[", "registr", "[registr"))
        for line in find_text(path).splitlines()
    ):
        return Rules()
    return parsed_toml(
        path,
        lambda data: _rules(data, str(path)),
        Rules(),
        "a registry is set up by [[registry]]; see containers-registries.conf(5)",
    )


def _rules(data: Table, source: str) -> Rules:
    found = (_rule(table, source) for table in tables(data, "registry"))
    return Rules(rules=(*_older_rules(data.get("registries", {}), source), *found))


def _older_rules(lists: Table, source: str) -> Iterator[Rule]:
    """Give what version 1 says: a registry may be in both of its lists."""
    blocked = set(texts(lists.get("block", {}), "registries"))
    insecure = set(texts(lists.get("insecure", {}), "registries"))
    for name in sorted(blocked | insecure):
        yield Rule(
            scope=name,
            manner=_EITHER if name in insecure else Manner(),
            own=Way(is_told=False),
            is_blocked=name in blocked,
            sources=(source,),
        )


def _rule(table: Table, source: str) -> Rule:
    location = text(table, "location")
    prefix = text(table, "prefix") or location
    if not prefix:
        raise ValueError("a registry has a prefix or a location")
    manner = _EITHER if flag(table, "insecure") else Manner()
    by_digest = flag(table, "mirror-by-digest-only")
    is_moved = bool(location) and location != prefix
    # How the place is spoken to that it lies at is told here, or by that place's own name.
    elsewhere = manner if manner == _EITHER else None
    own = _way(location, prefix, elsewhere) if is_moved else Way(is_told=False)
    return Rule(
        scope=prefix,
        manner=manner,
        ways=tuple(_mirror(each, prefix, by_digest) for each in tables(table, "mirror")),
        own=own,
        is_blocked=flag(table, "blocked"),
        sources=(source,),
    )


def _mirror(table: Table, prefix: str, by_digest: bool) -> Way:
    when = text(table, "pull-from-mirror")
    if when not in _FROM_MIRROR:
        raise ValueError(f"pull-from-mirror is all, digest-only or tag-only, not {when!r}")
    location = text(table, "location")
    if not location:
        raise ValueError(f"a mirror of {prefix} has no location")
    manner = _EITHER if flag(table, "insecure") else None
    resolves = not by_digest and when != "digest-only"
    return _way(location, prefix, manner, resolves=resolves)


def _way(location: str, prefix: str, manner: Manner | None, *, resolves: bool = True) -> Way:
    """Return the way to where a prefix lies: what is behind the prefix in a name stays."""
    host, _, path = location.partition("/")
    drops = prefix.partition("/")[2]
    return Way(
        host=host,
        base=f"/v2/{path}/" if path else "/v2/",
        drops=f"{drops}/" if drops else "",
        manner=manner,
        is_told=False,
        resolves=resolves,
    )
