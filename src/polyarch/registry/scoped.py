"""Credentials for a part of a registry, or for pushing only, as docker buildx has them.

    $BUILDX_CONFIG/config/HOST[/REPOSITORY][@ACTION,ACTION]/config.json

Each is a `config.json` of docker's, and counts for tokens of one repository: the one that is named, or any, with at
least these actions (`pull`, `push`). The longest name of a repository comes first, then the most actions.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from polyarch.record import frozen

__all__ = ["Scoped", "find_scoped", "repository_of"]

_REPOSITORY = "repository:"


@frozen
class Scoped:
    """A file of credentials, and what it is for; `repository` is empty for all."""

    file: Path
    host: str
    repository: str = ""
    actions: frozenset[str] = frozenset()

    def fits(self, scopes: Iterable[str]) -> bool:
        """Tell whether it counts for these scopes, each of a resource of its own."""
        resources = [scope.rpartition(":") for scope in scopes]
        if len(resources) != 1:
            return False
        [(resource, _, actions)] = resources
        is_meant = not self.repository or resource == f"{_REPOSITORY}{self.repository}"
        return is_meant and self.actions <= set(actions.split(","))

    def narrowness(self) -> tuple[str, int]:
        """Return what it is ordered by: the greatest counts."""
        return self.repository, len(self.actions)


def repository_of(scopes: Iterable[str]) -> str:
    """Return the repository that scopes are about; of two that which is written to; "" for none."""
    found = [scope for scope in scopes if scope.startswith(_REPOSITORY)]
    found.sort(key=lambda scope: "push" not in scope.rpartition(":")[2])
    return found[0].removeprefix(_REPOSITORY).rpartition(":")[0] if found else ""


def find_scoped(directory: Path) -> tuple[Scoped, ...]:
    """Return the files of credentials below a directory, which need not be there."""
    found = []
    for place, _, names in os.walk(directory):
        if "config.json" in names:
            found.append(_read_name(Path(place), os.path.relpath(place, directory)))
    return tuple(found)


def _read_name(place: Path, name: str) -> Scoped:
    main, _, told = name.partition("@")
    host, _, repository = main.partition("/")
    actions = frozenset(filter(None, map(str.strip, told.split(","))))
    return Scoped(file=place / "config.json", host=host, repository=repository, actions=actions)
