"""How an emulated step runs, by the mode that the build asks for.

    strict   with nothing native in it
    auto     with twins, if there are any that are worth their cost; its changes are scanned, and if it made what
             a foreign run would not have made, or failed, it runs again, strictly
    verify   strictly and with twins, each in a layer of its own, and what differs is told at the end

A step may run twice, then. BuildKit's contract allows that: a step runs again whenever its result is lost, and
nobody can count on its running once. What both runs have in common is what a step shares with others anyway:

- caches: by their contract they may be empty at any time. What the first run put there may be what its layer is
  thrown away for, so they are emptied, unless another step uses them at the moment;
- secrets and agents give the same again;
- an entitled step (`--security=insecure`) may do to the machine whatever it wants: it never has twins.

A failure is only believed when it happened without twins: else a fault of theirs would be taken for the step's own.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

from polyarch.errors import StepFailed
from polyarch.platforms import Platform
from polyarch.progress import Sink, StatusEvent
from polyarch.record import frozen, replace
from polyarch.request.emulated import EmulatedStep
from polyarch.request.emulation import EmulationMode
from polyarch.runtime.foreign import Emulation
from polyarch.snapshot.snapshotter import SnapshotID
from polyarch.store.emulated import EmulatedRun, EmulatedRuns, EmulatedStepKey
from polyarch.twins.sets import FORMAT, TwinSet
from polyarch.worker.emulated import ladder
from polyarch.worker.emulated.bases import find_bases
from polyarch.worker.emulated.choice import Choice, Chooser, headers_of
from polyarch.worker.emulated.compare import Listing, differing, list_changes
from polyarch.worker.emulated.scan import find_native
from polyarch.worker.emulated.starts import Starts, StartsOf
from polyarch.worker.work import Attempt, Work

__all__ = ["Attempts", "EmulatedSteps", "Foreign"]

_SHOWN = 20
"""Paths that differ, of one step."""
_GAVE_UP = "a program needed what isn't native"


class Attempts(ladder.Attempts, Protocol):
    """Runs steps; `polyarch.worker.exec.StepRunner` is one."""

    def attempt(
        self, work: Work, emulation: Emulation, twins: Path | None = None
    ) -> AbstractContextManager[Attempt]:
        """Run the step once."""


class Foreign(Protocol):
    """Prepares emulation; `polyarch.runtime.foreign.ForeignSteps` does."""

    def prepare(self, platform: Platform, twins: Sequence[TwinSet] = ()) -> Emulation:
        """Return what a step for `platform` needs."""


@frozen
class _Twinned:
    """The sets of a step, and the emulation that knows them."""

    choice: Choice
    emulation: Emulation


class EmulatedSteps:
    """The emulated steps of one build; thread-safe."""

    def __init__(
        self,
        mode: EmulationMode,
        *,
        chooser: Chooser,
        runs: EmulatedRuns,
        foreign: Foreign,
        ladder: ladder.Ladder,
        sink: Sink,
    ) -> None:
        self._mode = mode
        self._chooser = chooser
        self._runs = runs
        self._foreign = foreign
        self._ladder = ladder
        self._sink = sink
        self._starts = StartsOf()
        self._lock = threading.Lock()
        self._done: list[EmulatedStep] = []
        self._different: list[str] = []

    @property
    def done(self) -> tuple[EmulatedStep, ...]:
        """What came of the steps so far, in the order in which they ended."""
        with self._lock:
            return tuple(self._done)

    def check(self) -> None:
        """Raise StepFailed, naming what differs, if a verified step had another result with twins."""
        with self._lock:
            if self._different:
                raise StepFailed(
                    "\n".join(("native programs made a difference:", *self._different)),
                    hint="what the steps made without them was kept; --emulation=strict does without",
                )

    def run(self, work: Work, attempts: Attempts) -> SnapshotID:
        """Run the step and return the snapshot of what it changed.

        Raises StepFailed, NoEmulator, InputError, Cancelled.
        """
        key = _key(work)
        known = self._runs.find(key)
        if self._mode is EmulationMode.STRICT:
            return self._strict(work, attempts, key, known)
        if known.strict and self._mode is EmulationMode.AUTO:
            self._remark(work, f"without native programs, as found earlier: {known.strict}")
            return self._strict(work, attempts, key, known)
        choice = self._chooser.choose(work, key, in_any_case=self._mode is EmulationMode.VERIFY)
        if not choice.sets:
            if choice.reason:
                self._remark(work, f"without native programs: {choice.reason}")
            return self._strict(work, attempts, key, known)
        twins = [each.twins for each in choice.sets]
        twinned = _Twinned(choice=choice, emulation=self._foreign.prepare(work.op.platform, twins))
        if twinned.emulation.twins is None:
            self._remark(work, "without native programs: this machine has no namespace for them")
            return self._strict(work, attempts, key, known)
        if self._mode is EmulationMode.VERIFY:
            return self._verified(work, attempts, key, twinned)
        return self._auto(work, attempts, key, twinned)

    # How it runs.

    def _auto(
        self, work: Work, attempts: Attempts, key: EmulatedStepKey, twinned: _Twinned
    ) -> SnapshotID:
        choice = twinned.choice
        with self._with_twins(work, attempts, twinned) as (tried, starts):
            trouble = _trouble(tried, choice, starts)
            if not trouble:
                snapshot = tried.keep()
                for each in choice.sets:
                    self._runs.save_unlike(snapshot, each.snapshot, "")
                self._tell(tried, key, choice, starts=starts.count)
                return snapshot
        self._remark(work, f"run again without native programs: {trouble}")
        attempts.forget_caches(work)
        return self._strict(work, attempts, key, EmulatedRun(strict=trouble), again=trouble)

    @contextmanager
    def _with_twins(
        self, work: Work, attempts: Attempts, twinned: _Twinned
    ) -> Iterator[tuple[Attempt, Starts]]:
        """Run the step with twins, and count how many of them were started."""
        sets = twinned.choice.sets
        # The emulator was put into the sets when the emulation was prepared: before they are put together.
        with self._chooser.sets.directory(sets) as directory, ExitStack() as attempt:
            with self._starts.counting(sets, directory) as starts:
                tried = attempt.enter_context(attempts.attempt(work, twinned.emulation, directory))
            yield tried, starts

    def _strict(
        self,
        work: Work,
        attempts: Attempts,
        key: EmulatedStepKey,
        known: EmulatedRun,
        *,
        again: str = "",
    ) -> SnapshotID:
        with self._ladder.attempt(work, attempts) as done:
            snapshot = done.keep()
        self._runs.save(key, replace(known, seconds=done.seconds))
        self._tell(done, key, Choice(), again=again)
        return snapshot

    def _verified(
        self, work: Work, attempts: Attempts, key: EmulatedStepKey, twinned: _Twinned
    ) -> SnapshotID:
        """Run strictly, with twins, and strictly once more if the results differ; keep the first one.

        The run with twins is the second of the three, so that a clock isn't taken for a difference, however rarely it
        changes what a step writes: if it has turned between the first run and the second, the third is behind that,
        too, and differs from the first. With the two strict runs behind one another it could turn before both.
        """
        attempts.forget_caches(work)
        with self._ladder.attempt(work, attempts) as done:
            strictly: Listing = {} if done.ended.status else list_changes(done.seal())
            snapshot = done.keep()
        self._runs.save(key, replace(self._runs.find(key), seconds=done.seconds))
        self._tell(done, key, Choice())
        attempts.forget_caches(work)
        with self._with_twins(work, attempts, twinned) as (tried, starts):
            status = tried.ended.status
            natively: Listing = {} if status else list_changes(tried.seal())
        if starts.gave_up:
            self._remark(work, f"not verified: {_GAVE_UP}, so it runs emulated")
        elif status:
            self._differs(work, [f"it ended with status {status}, not 0"])
        elif different := differing(natively, strictly):
            wavering = self._wavering(work, attempts, strictly)
            self._differs(work, sorted(different - wavering))
        else:
            self._remark(work, f"verified: {len(strictly)} files are the same both ways")
        return snapshot

    def _wavering(self, work: Work, attempts: Attempts, strictly: Listing) -> frozenset[str]:
        """Return the paths at which the step differs from itself, with nothing native."""
        attempts.forget_caches(work)
        with self._ladder.attempt(work, attempts) as done:
            if done.ended.status:  # what it hasn't come to doesn't count
                return frozenset()
            return differing(strictly, list_changes(done.seal()))

    # What is told of it.

    def _differs(self, work: Work, found: Sequence[str]) -> None:
        if not found:
            return
        lines = [f"  {line}" for line in found[:_SHOWN]]
        if len(found) > _SHOWN:
            lines.append(f"  and {len(found) - _SHOWN} more")
        with self._lock:
            self._different += [f"{work.vertex.name}:", *lines]

    def _tell(
        self,
        done: Attempt,
        key: EmulatedStepKey,
        choice: Choice,
        *,
        starts: int | None = None,
        again: str = "",
    ) -> None:
        known = self._runs.find(key)
        step = EmulatedStep(
            name=done.work.vertex.name,
            platform=key.platform,
            seconds=done.seconds,
            natives=sum(len(each.twins.twins) for each in choice.sets),
            starts=starts,
            cpu_seconds=done.ended.cpu_seconds,
            emulated_seconds=known.seconds,
            again=again,
        )
        with self._lock:
            self._done.append(step)
        self._remark(done.work, _receipt(step))

    def _remark(self, work: Work, text: str) -> None:
        now = time.time()
        self._sink(
            StatusEvent(
                step=work.vertex.digest, id=text, started=now, completed=now, is_remark=True
            )
        )


def _trouble(tried: Attempt, choice: Choice, starts: Starts) -> str:
    """Say why the result of a step with twins can't be kept, "" if it can."""
    if tried.ended.refused or tried.ended.out_of_memory:
        return ""  # it would happen again
    if tried.ended.status != 0:
        return f"it ended with status {tried.ended.status}"
    if starts.gave_up:
        return _GAVE_UP
    found = find_native(tried.seal(), headers_of(choice.sets))
    return "" if found is None else str(found)


def _key(work: Work) -> EmulatedStepKey:
    own = find_bases(work.vertex).own
    return EmulatedStepKey(
        # What twins of another make were found out to do says nothing of these.
        step=f"{work.vertex.cache_digest} {FORMAT}",
        base="" if own is None else own.reference,
        platform=str(work.op.platform),
    )


def _receipt(step: EmulatedStep) -> str:
    cpu = "" if step.cpu_seconds is None else f", {step.cpu_seconds:.1f}s of CPU"
    if not step.natives:
        return f"emulated throughout{cpu}"
    spared = _spared(step.saved_seconds)
    if step.starts is None:
        return f"{_programs(step.natives)} could run natively{cpu}{spared}"
    return f"{_programs(step.starts)} ran natively{cpu}{spared}"


def _spared(seconds: float | None) -> str:
    """Say how much sooner a step ended by the clock: short ones may end later, for what a busy machine does besides."""
    if seconds is None:
        return ""
    when = "sooner" if seconds >= 0 else "later"
    return f", {abs(seconds):.1f}s {when} than emulated throughout"


def _programs(count: int) -> str:
    return f"{count} program{'' if count == 1 else 's'}"
