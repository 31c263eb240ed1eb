"""A definition under a prefix: `default` becomes `api`, `test` becomes `api-test`, and what refers to them follows."""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.bakefile.config import Config
from polyarch.bakefile.target import Group, Target
from polyarch.record import replace

__all__ = ["prefixed"]

_LINK = "target:"


def prefixed(config: Config, prefix: str) -> Config:
    """Return a definition with other names, if there is a prefix. What begins with `_` is hidden, and stays so."""
    if not prefix:
        return config
    renamed = {name: _renamed(name, prefix) for name in config.names}
    return replace(
        config,
        targets=tuple(_target(each, renamed) for each in config.targets),
        groups=tuple(_group(each, renamed) for each in config.groups),
    )


def _renamed(name: str, prefix: str) -> str:
    if name == "default":
        return prefix
    return f"_{prefix}-{name[1:]}" if name.startswith("_") else f"{prefix}-{name}"


def _group(group: Group, renamed: Mapping[str, str]) -> Group:
    members = group.targets
    if members is not None:
        members = tuple(renamed.get(each, each) for each in members)
    return replace(group, name=renamed[group.name], targets=members)


def _target(target: Target, renamed: Mapping[str, str]) -> Target:
    inherits, contexts = target.inherits, target.contexts
    if inherits is not None:
        inherits = tuple(renamed.get(each, each) for each in inherits)
    if contexts is not None:
        contexts = {name: _link(at, renamed) for name, at in contexts.items()}
    return replace(target, name=renamed[target.name], inherits=inherits, contexts=contexts)


def _link(at: str, renamed: Mapping[str, str]) -> str:
    name = at.removeprefix(_LINK)
    return f"{_LINK}{renamed.get(name, name)}" if at.startswith(_LINK) else at
