"""How much goes on at once: slots by kind of work, handed out first come, first served within a kind.

No thread waits for a slot: the coordinator of a solve offers work and is told what may start.

Steps that run natively are nearly unlimited, as with BuildKit: many of them wait for a network, and the
kernel shares out the processors better than we could. An emulated step does its work several times over
and takes the memory of an emulator beside its own, so that too many of them at once are slower than one
after another, or don't fit. They have slots of their own, lest a native step wait for one of them.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from enum import StrEnum
from functools import partial
from typing import Generic, TypeVar

from polyarch.record import frozen

__all__ = ["SlotKind", "SlotLimits", "Slots"]

_T = TypeVar("_T")
# A step takes about six of the engine's open files, of which 1,024 are usual.
_STEPS = 64
# What comes from other machines is waited for. Blobs of images are limited where they are fetched.
_SOURCES = 16
_EMULATED_LEAST = 4
_EMULATED_PER_CPU = 2
_EMULATED_MEMORY = 512 << 20
_MEMORY_LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")


class SlotKind(StrEnum):
    """What a piece of work is limited by; of two kinds that could start, the first one does."""

    EXEC = "exec"
    EMULATED = "emulated"
    FILE = "file"
    SOURCE = "source"
    HASH = "hash"


_STEP_KINDS = frozenset({SlotKind.EXEC, SlotKind.EMULATED})


def _cpus() -> int:
    return len(os.sched_getaffinity(0))


def _memory() -> int:
    """Return the bytes of memory that this machine, or this container, has."""
    return min(_memories())


def _memories() -> Iterator[int]:
    yield os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    for path in _MEMORY_LIMITS:
        # ValueError: "max", which is none.
        with suppress(OSError, ValueError), open(path, encoding="ascii") as file:
            yield int(file.read())


def _emulated() -> int:
    """Return how many emulated steps run at once: twice the processors, as far as there is memory."""
    wanted = max(_EMULATED_LEAST, _EMULATED_PER_CPU * _cpus())
    return max(1, min(wanted, _memory() // _EMULATED_MEMORY))


@frozen
class SlotLimits:
    """How many of each kind at once, each at least 1; 0 for what suits this machine.

    `jobs` are execs, native and emulated ones together; `emulated` are those of them that are.
    """

    jobs: int = 0
    emulated: int = 0
    files: int = 0
    sources: int = _SOURCES
    hashes: int = 0

    def of(self, kind: SlotKind) -> int:
        """Return the number of slots of one kind."""
        match kind:
            case SlotKind.EXEC:
                return self.jobs or _STEPS
            case SlotKind.EMULATED:
                return min(self.jobs or _STEPS, self.emulated or _emulated())
            case SlotKind.FILE:
                return self.files or _cpus()
            case SlotKind.SOURCE:
                return self.sources
            case SlotKind.HASH:
                return self.hashes or _cpus()


class Slots(Generic[_T]):
    """The slots of one solve and the work that waits for them. Used by one thread only."""

    def __init__(self, limits: SlotLimits) -> None:
        self._limits = limits
        self._free: dict[SlotKind, int] = {}
        self._free_steps = limits.jobs or 2 * _STEPS
        self._waiting: dict[SlotKind, deque[_T]] = {kind: deque() for kind in SlotKind}

    def offer(self, work: _T, kind: SlotKind) -> None:
        """Queue `work`; `take` gives it back when there is room."""
        if kind not in self._free:
            # Only now: an unchanged build has no use for what it takes to find out.
            self._free[kind] = self._limits.of(kind)
        self._waiting[kind].append(work)

    def take(self) -> tuple[_T, Callable[[], None]] | None:
        """Return work that may start, with the function to call once it has ended; None if there is none."""
        for kind, waiting in self._waiting.items():
            if waiting and self._has_room(kind):
                self._change(kind, -1)
                return waiting.popleft(), partial(self._change, kind, 1)
        return None

    @property
    def waiting(self) -> int:
        """How many pieces of work wait."""
        return sum(map(len, self._waiting.values()))

    def _has_room(self, kind: SlotKind) -> bool:
        return self._free[kind] > 0 and (kind not in _STEP_KINDS or self._free_steps > 0)

    def _change(self, kind: SlotKind, number: int) -> None:
        self._free[kind] += number
        if kind in _STEP_KINDS:
            self._free_steps += number
