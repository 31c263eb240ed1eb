"""Emulated steps, tried in other ways when the emulator crashes or hangs; what helped is remembered.

A step whose emulator has crashed is run again, in a fresh layer, on the next rung: with another CPU, then by other
versions of QEMU that are here (`polyarch.emulation.rungs`), then in a virtual machine. What it has then changed is kept if
it ends well, and the rung is the first one from then on, for that base image and platform. A program that fails by
itself isn't run again.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from itertools import islice
from typing import Protocol

from polyarch.emulation.facts import Facts, stamp
from polyarch.emulation.qemu import Emulator
from polyarch.emulation.rungs import MOST_RUNGS, find_rung, rung_name, rungs
from polyarch.errors import MachineError, StepFailed
from polyarch.platforms import Platform
from polyarch.progress import Sink, StatusEvent
from polyarch.record import frozen
from polyarch.runtime.foreign import Emulation
from polyarch.worker.work import Attempt, Work

__all__ = ["Attempts", "Foreign", "Ladder"]


class Attempts(Protocol):
    """Runs steps; `polyarch.worker.exec.StepRunner` is one."""

    def attempt(self, work: Work, emulation: Emulation) -> AbstractContextManager[Attempt]:
        """Run the step once."""

    def attempt_in_machine(self, work: Work) -> AbstractContextManager[Attempt]:
        """Run the step once in a virtual machine. Raises MachineError if that can't be."""

    def lacks_machine(self, platform: Platform) -> str:
        """Say why no step for `platform` can run in a virtual machine; "" if one may."""

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
    begin: Callable[[], AbstractContextManager[Attempt]]
    rung: str


_MACHINE = "vm"
_IN_MACHINE = "in a virtual machine"
_ADVICE = "another version of QEMU may do better (POLYARCH_QEMU_PATH, POLYARCH_QEMU_IMAGE)"


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
        """Run the step until the emulator doesn't stand in its way; give that attempt, however it ended.

        Nothing is left of those before. Raises StepFailed if it always does.
        """
        usual = self._foreign.usual(work.op.platform)
        key = _key(work, usual)
        tried: list[str] = []
        failure: StepFailed | None = None
        for way in self._ways(work, attempts, usual, key):
            if tried:
                self._remark(work, f"run again {way.name}")
                attempts.forget_caches(work)
            with ExitStack() as held:
                done, trouble = _begin(way, held)
                if not trouble:
                    assert done is not None
                    if tried and done.ended.status == 0:
                        self._remember(work, way, key)
                    yield done
                    return
                tried.append(f"{way.name}: {trouble}")
                self._remark(work, trouble)
                if done is not None and not done.ended.refused:
                    failure = done.failure()
        assert failure is not None  # the usual way is among them
        lacking = attempts.lacks_machine(work.op.platform)
        machine = f"; so may {_IN_MACHINE[3:]}, but {lacking}" if lacking else ""
        failure.hint = "; ".join((*tried, _ADVICE)) + machine
        raise failure

    def _remember(self, work: Work, way: _Way, key: str) -> None:
        self._facts.put(key, way.rung)
        where = f"{_base(work)} on {work.op.platform}"
        self._remark(work, f"{_noun(way)} helped, and is remembered for {where}")

    def _ways(
        self, work: Work, attempts: Attempts, usual: Emulator | None, key: str
    ) -> Iterator[_Way]:
        """Give what to try: what helped earlier, the usual, what else there is, and a virtual machine."""
        platform = work.op.platform

        def on(rung: Emulator) -> _Way | None:
            emulation = self._foreign.prepare_on(platform, rung)
            begin = partial(attempts.attempt, work)
            return _way(rung, partial(begin, emulation)) if emulation is not None else None

        # Few steps need one, and what there is of machines has to be loaded.
        machine = _Way(
            name=_IN_MACHINE, begin=partial(attempts.attempt_in_machine, work), rung=_MACHINE
        )
        known = self._facts.find(key)
        if known == _MACHINE:
            first = None if attempts.lacks_machine(platform) else machine
        else:
            first = self._find_way(known, usual, on)
        if first is not None:
            self._remark(work, f"{_by(first)}, which helped earlier")
            yield first
        shown = _shown(usual) if usual is not None else "the usual emulator"
        begin = partial(attempts.attempt, work, self._foreign.prepare(platform))
        yield _Way(name=f"with {shown}", begin=begin, rung="")
        if usual is not None:
            others = rungs(usual, self._facts, self.environ)
            for rung in islice(others, MOST_RUNGS):
                way = on(rung) if rung_name(rung) != known else None
                if way is not None:
                    yield way
        if known != _MACHINE and not attempts.lacks_machine(platform):
            yield machine

    def _find_way(
        self, known: object, usual: Emulator | None, on: Callable[[Emulator], _Way | None]
    ) -> _Way | None:
        """Return the way with the emulator that is remembered, if that is still there."""
        if usual is None or not isinstance(known, str):
            return None
        rung = find_rung(known, usual, self._facts, self.environ)
        return on(rung) if rung is not None else None

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


def _begin(way: _Way, held: ExitStack) -> tuple[Attempt | None, str]:
    """Run the step this way; return the attempt and what it was that stood in its way, "" if nothing.

    There is no attempt if there was no machine for it.
    """
    try:
        done = held.enter_context(way.begin())
    except MachineError as error:
        if way.rung != _MACHINE:
            raise
        return None, str(error)
    return done, done.trouble or (done.ended.refused if way.rung == _MACHINE else "")


def _way(rung: Emulator, begin: Callable[[], AbstractContextManager[Attempt]]) -> _Way:
    return _Way(name=f"with {_shown(rung)}", begin=begin, rung=rung_name(rung))


def _noun(way: _Way) -> str:
    return way.name.partition(" ")[2]


def _by(way: _Way) -> str:
    return way.name if way.rung == _MACHINE else f"by {_noun(way)}"


def _shown(rung: Emulator) -> str:
    setting = f" with -cpu {rung.model}" if rung.model else ""
    return f"QEMU {rung.shown_version}{setting}"
