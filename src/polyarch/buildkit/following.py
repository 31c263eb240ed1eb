"""Paths that a build reads -> the paths that have to be sent for it: links on the way, and what they lead to.

Nothing outside of the directory is looked at: a link that leads out of it leads to its top, as in a root.

Source: tonistiigi/fsutil, `followlinks.go`.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Iterator
from pathlib import Path

from polyarch.text.wildcard import compile_name, has_wildcards

__all__ = ["followed"]


def followed(root: Path, paths: Iterable[str]) -> list[str]:
    """Return the paths, and those that they lead to through links; nothing for all there is."""
    following = _Following(root)
    for path in paths:
        following.add(path)
    found = sorted(following.found)
    return [] if "." in found else found


class _Following:
    def __init__(self, root: Path) -> None:
        self.found: set[str] = set()
        self._root = root

    def add(self, path: str) -> None:
        todo = [path]
        while todo:
            todo += self._step(todo.pop())

    def _step(self, path: str) -> Iterator[str]:
        """Go along a path up to its first link, and give the paths that this leads to."""
        parts = _inside(path).split("/")
        for number in range(1, len(parts) + 1):
            current, rest = "/".join(parts[:number]), "/".join(parts[number:])
            targets = list(self._targets(current))
            if not targets and rest:
                continue
            if current in self.found:
                return
            self.found.add(current)
            yield from (f"{target}/{rest}" for target in targets)
            return

    def _targets(self, path: str) -> Iterator[str]:
        """Give where the links lead that a path names, whose last part may be a pattern."""
        directory, _, name = path.rpartition("/")
        names = [name]
        if has_wildcards(name):
            expression = compile_name(name)
            try:
                listed = os.listdir(self._root / directory)
            except OSError:
                return
            names = [each for each in sorted(listed) if expression.fullmatch(each)]
        for each in names:
            try:
                link = os.readlink(self._root / directory / each)
            except OSError:
                continue  # no link, or nothing at all
            yield link if link.startswith("/") else f"{directory}/{link}"


def _inside(path: str) -> str:
    return posixpath.normpath(f"/{path}").lstrip("/") or "."
