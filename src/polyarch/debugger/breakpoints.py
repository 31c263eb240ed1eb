"""Breakpoints of an editor: lines of files, and the steps that they turn out to stand for."""

from __future__ import annotations

import posixpath
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

from polyarch.debugger.node import Node
from polyarch.record import frozen, replace

__all__ = ["Breakpoint", "Breakpoints", "source_of"]


def source_of(path: str) -> dict[str, object]:
    """Return a file as editors are told of it."""
    return {"name": posixpath.basename(path), "path": path}


@frozen
class Breakpoint:
    """A breakpoint; it is verified once a step was found for it, and failed if there is none."""

    id: int
    path: str
    line: int
    last: int
    verified: bool = False
    reason: str = "pending"

    def told(self) -> dict[str, object]:
        """Return it as editors are told."""
        reason = {"reason": self.reason} if self.reason else {}
        return {
            "id": self.id,
            "verified": self.verified,
            "source": source_of(self.path),
            "line": self.line,
            "endLine": self.last,
            **reason,
        }


class Breakpoints:
    """All breakpoints; to be used from any thread. `tell` is told of those that change."""

    def __init__(self, tell: Callable[[Breakpoint], None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._number = 0
        self._found: dict[str, tuple[Breakpoint, ...]] = {}

    def set(self, path: str, lines: Iterable[int]) -> Sequence[Breakpoint]:
        """Set the breakpoints of a file; those that are there already stay what they are."""
        with self._lock:
            known = self._found.get(path.lower(), ())
            found = tuple(self._one(path, line, known) for line in lines)
            self._found[path.lower()] = found
            return found

    def _one(self, path: str, line: int, known: Iterable[Breakpoint]) -> Breakpoint:
        for each in known:
            if each.line <= line <= each.last:
                return each
        self._number += 1
        return Breakpoint(id=self._number, path=path, line=line, last=line)

    def resolve(self, nodes: Iterable[Node], paths: Mapping[str, str]) -> Mapping[str, int]:
        """Return which steps have a breakpoint, by their keys; `paths` are those of texts by their names.

        Breakpoints of these texts that no step stands at have failed.
        """
        with self._lock:
            found: dict[str, int] = {}
            for node in nodes:
                number = self._verify(node, paths)
                if number:
                    found.setdefault(node.key, number)
            for path in paths.values():
                self._change(
                    path, lambda each: not each.verified and each.reason != "failed", _fail
                )
            return found

    def _verify(self, node: Node, paths: Mapping[str, str]) -> int:
        place = node.location
        path = paths.get(place.source.name, "") if place is not None else ""
        if place is None or not path:
            return 0
        start, end = place.start, place.end
        at = [each for each in self._found.get(path.lower(), ()) if start <= each.line <= end]
        if not at:
            return 0
        first = at[0]
        verified = replace(first, path=path, line=start, last=end, verified=True, reason="")
        self._change(path, lambda each: each is first and not first.verified, lambda _: verified)
        return first.id

    def _change(
        self,
        path: str,
        concerns: Callable[[Breakpoint], bool],
        change: Callable[[Breakpoint], Breakpoint],
    ) -> None:
        known = self._found.get(path.lower(), ())
        found = tuple(change(each) if concerns(each) else each for each in known)
        self._found[path.lower()] = found
        for before, after in zip(known, found, strict=True):
            if after is not before:
                self._tell(after)


def _fail(breakpoint_: Breakpoint) -> Breakpoint:
    return replace(breakpoint_, reason="failed")
