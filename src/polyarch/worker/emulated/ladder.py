"""Emulated steps, tried in other ways when the emulator crashes or hangs; what helped is remembered.

A step whose emulator has crashed is run again, in a fresh layer, on the next rung: with another CPU, then by other
versions of QEMU that are here (`polyarch.emulation.rungs`). What it has then changed is kept if it ends well, and the rung
is the first one from then on, for that base image and platform. A program that fails by itself isn't run again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from polyarch.emulation.facts import Facts, stamp
from polyarch.emulation.qemu import Emulator
from polyarch.emulation.rungs import MOST_RUNGS, find_rung, rung_name, rungs
from polyarch.errors import StepFailed
from polyarch.platforms import Platform
from polyarch.progress import Sink, StatusEvent
from polyarch.record import frozen, replace
from polyarch.runtime.foreign import Emulation
from polyarch.worker.exec import Attempt, Work

__all__ = ["Attempts", "Foreign", "Ladder"]


class Attempts(Protocol):
    """Runs steps; `polyarch.worker.exec.StepRunner` is one."""

    def attempt(self, work: Work, emulation: Emulation) -> AbstractContextManager[Attempt]:
        """Run the step once."""

    def forget_caches(self, work: Work) -> None:
        """Empty the caches that the step may have written to."""


class Foreign(Protocol):
    """Prepares emulation; `polyarch.runtime.foreign.ForeignSteps` does."""

    def prepare(self, platform: Platform) -> Emulation:
        """Return what a step for `platform` needs."""

    def prepare_on(self, platform: Platform, emulator: Emulator, /) -> Emulation | None:
        """Return what it needs to be emulated by another emulator, None where that can't be."""

    def usual(self, platform: Platform, /) -> Emulator | None:
        """Return the emulator that it has if nothing else is said."""


@frozen
class _Way:
    """One way to emulate; `rung` is the text that is remembered of it, "" for the usual one."""

    name: str
    emulation: Emulation
    rung: str


class Ladder:
    """Runs emulated steps on the rung that is known to carry, else on one after the other."""

    def __init__(
        self, *, foreign: Foreign, facts: Facts, environ: Mapping[str, str], sink: Sink
    ) -> None:
        self._foreign = foreign
        self._facts = facts
        self.environ = environ
        self._sink = sink

    @contextmanager
    def attempt(self, work: Work, attempts: Attempts) -> Iterator[Attempt]:
        """Run the step until the emulator doesn't stand in its way; give the last attempt, however it ended.

        Nothing is left of those before.
        """
        usual = self._foreign.usual(work.op.platform)
        key = _key(work, usual)
        ways = self._ways(work, usual, key)
        way: _Way | None = next(ways)
        tried: list[str] = []
        while way is not None:
            if tried:
                self._remark(work, f"run again with {way.name}")
                attempts.forget_caches(work)
            with attempts.attempt(work, way.emulation) as done:
                if done.trouble:
                    tried.append(f"with {way.name}: {done.trouble}")
                    self._remark(work, done.trouble)
                    way = next(ways, None) if len(tried) <= MOST_RUNGS else None
                    if way is None:
                        yield _exhausted(done, tried)
                    continue
                if tried and done.ended.status == 0:
                    self._facts.put(key, way.rung)
                    where = f"{_base(work)} on {work.op.platform}"
                    self._remark(work, f"{way.name} helped, and is remembered for {where}")
                way = None
                yield done

    def _ways(self, work: Work, usual: Emulator | None, key: str) -> Iterator[_Way]:
        """Give what to try: what helped earlier, the usual, and then what else there is."""
        platform = work.op.platform
        known = self._facts.find(key)
        seen: list[str] = []
        if usual is not None and isinstance(known, str):
            rung = find_rung(known, usual, self._facts, self.environ)
            emulation = self._foreign.prepare_on(platform, rung) if rung is not None else None
            if rung is not None and emulation is not None:
                self._remark(work, f"by {_shown(rung)}, which helped earlier")
                seen.append(known)
                yield _Way(name=_shown(rung), emulation=emulation, rung=known)
        shown = _shown(usual) if usual is not None else "the usual emulator"
        yield _Way(name=shown, emulation=self._foreign.prepare(platform), rung="")
        if usual is None:
            return
        for rung in rungs(usual, self._facts, self.environ):
            if rung_name(rung) in seen:
                continue
            emulation = self._foreign.prepare_on(platform, rung)
            if emulation is not None:
                yield _Way(name=_shown(rung), emulation=emulation, rung=rung_name(rung))

    def _remark(self, work: Work, text: str) -> None:
        now = time.time()
        self._sink(
            StatusEvent(
                step=work.vertex.digest, id=text, started=now, completed=now, is_remark=True
            )
        )


def _base(work: Work) -> str:
    """Return the name of the image that a step stands on, as people know it; without one, its first layer's."""
    first = work.stack.layers[0] if work.stack.layers else None
    if first is None:
        return "scratch"
    return first.sources[0].partition("@")[0] if first.sources else first.snapshot


def _key(work: Work, usual: Emulator | None) -> str:
    # Another build of the emulator is tried as if nothing had been.
    program = stamp(usual.path) if usual is not None else ""
    return f"rung {work.op.platform} {_base(work)} {program}"


def _exhausted(done: Attempt, tried: Sequence[str]) -> Attempt:
    """Return the last attempt with an error that tells of all."""

    def failure() -> StepFailed:
        error = done.failure()
        advice = "another version of QEMU may do better (POLYARCH_QEMU_PATH, POLYARCH_QEMU_IMAGE)"
        error.hint = "; ".join((*tried, advice))
        return error

    return replace(done, failure=failure)


def _shown(rung: Emulator) -> str:
    setting = f" with -cpu {rung.model}" if rung.model else ""
    return f"QEMU {rung.shown_version}{setting}"
