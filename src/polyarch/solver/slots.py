"""How much goes on at once: slots by kind of work, handed out first come, first served.

No thread waits for a slot: the coordinator of a solve offers work and is told what may start.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from typing import Generic, TypeVar

from polyarch.record import frozen

__all__ = ["SlotKind", "SlotLimits", "Slots"]

_T = TypeVar("_T")
# As many as BuildKit opens to one registry host.
_SOURCES = 4


class SlotKind(StrEnum):
    """What a piece of work is limited by."""

    EXEC = "exec"
    FILE = "file"
    SOURCE = "source"
    HASH = "hash"


def _cpus() -> int:
    return len(os.sched_getaffinity(0))


@frozen
class SlotLimits:
    """How many of each kind at once, each at least 1; `jobs` are execs. 0 means one per CPU."""

    jobs: int = 0
    files: int = 0
    sources: int = _SOURCES
    hashes: int = 0

    def of(self, kind: SlotKind) -> int:
        """Return the number of slots of one kind."""
        number = {
            SlotKind.EXEC: self.jobs,
            SlotKind.FILE: self.files,
            SlotKind.SOURCE: self.sources,
            SlotKind.HASH: self.hashes,
        }[kind]
        return number or _cpus()


class Slots(Generic[_T]):
    """The slots of one solve and the work that waits for them. Used by one thread only.

    Work may weigh more than one slot; work that weighs more than there are takes them all. Within a
    kind nothing overtakes, so that heavy work isn't starved by light work.
    """

    def __init__(self, limits: SlotLimits) -> None:
        self._free = {kind: limits.of(kind) for kind in SlotKind}
        self._limits = dict(self._free)
        self._waiting: dict[SlotKind, deque[tuple[_T, int]]] = {kind: deque() for kind in SlotKind}

    def offer(self, work: _T, kind: SlotKind, weight: int = 1) -> None:
        """Queue `work`; `take` gives it back when there is room."""
        self._waiting[kind].append((work, max(1, min(weight, self._limits[kind]))))

    def take(self) -> tuple[_T, Callable[[], None]] | None:
        """Return work that may start, with the function to call once it has ended; None if there is none."""
        for kind, waiting in self._waiting.items():
            if waiting and waiting[0][1] <= self._free[kind]:
                work, weight = waiting.popleft()
                self._free[kind] -= weight
                return work, partial(self._give_back, kind, weight)
        return None

    @property
    def waiting(self) -> int:
        """How many pieces of work wait."""
        return sum(map(len, self._waiting.values()))

    def _give_back(self, kind: SlotKind, weight: int) -> None:
        self._free[kind] += weight
