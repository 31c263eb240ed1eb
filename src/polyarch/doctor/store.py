"""What is left of killed processes, and whether the store is sound."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from polyarch.doctor.check import Check, Grade
from polyarch.errors import StoreError
from polyarch.namespaces.strays import MountedBelow, mounts_below
from polyarch.record import frozen
from polyarch.snapshot.snapshotter import SnapshotID
from polyarch.snapshot.stack import LayerStack, take_apart
from polyarch.solver.records import Records
from polyarch.store.checkup import Problem, ProblemKind, check, repair
from polyarch.store.results import Results
from polyarch.store.store import Store, is_abandoned

__all__ = ["StoreState", "left_behind", "look_at_store"]

_SHOWN = 10
_DYING_SECONDS = 2.0


@frozen
class StoreState:
    """What was found out about the store."""

    checks: tuple[Check, ...]
    is_sound: bool


def left_behind(root: Path) -> Iterator[Check]:
    """Look, before anything opens the store, for mounts and processes of builds that are gone.

    A build that was killed just now takes some milliseconds to end: what is still there is waited for, and
    looked at again, before anybody is advised to kill it.
    """
    strays = _strays(root)
    if strays:
        _wait_for_ends({each.process for each in strays if each.process})
        strays = _strays(root)
    for stray in strays[:_SHOWN]:
        if stray.process:
            yield Check(
                name="processes",
                grade=Grade.FAIL,
                text=f"the process {stray.process} of a dead build still has {stray.path} mounted",
                fix=f"kill -9 {stray.process}",
            )
        else:
            yield Check(
                name="mounts",
                grade=Grade.FAIL,
                text=f"{stray.path} is mounted outside of any build",
                fix=f"sudo umount {stray.path}",
            )
    if not strays:
        yield Check(name="processes", grade=Grade.OK, text="no build has left any, nor mounts")


def _strays(root: Path) -> list[MountedBelow]:
    return [
        each for each in mounts_below(root) if each.process == 0 or _is_of_the_dead(each.path, root)
    ]


def _wait_for_ends(processes: Iterable[int]) -> None:
    """Wait a little, in all, for the end of each of these processes."""
    deadline = time.monotonic() + _DYING_SECONDS
    for process in processes:
        with suppress(ProcessLookupError):
            descriptor = os.pidfd_open(process)
            try:
                select.select([descriptor], [], [], max(0.0, deadline - time.monotonic()))
            finally:
                os.close(descriptor)


def _is_of_the_dead(path: Path, root: Path) -> bool:
    parts = path.relative_to(root).parts
    if len(parts) < 2 or parts[0] != "tmp":
        return False
    return is_abandoned(root / "tmp" / parts[1])


def look_at_store(store: Store, swept: Sequence[str], *, deep: bool, fix: bool) -> StoreState:
    """Check the store, and repair it if that is wanted; `swept` were scratch directories of the dead.

    To repair it all blobs are read: what only `deep` finds would stay, and be taken for sound.
    """
    deep = deep or fix
    problems = _problems(store, deep=deep)
    lost = (
        _lost_results(store)
        if not any(each.kind is ProblemKind.DATABASE for each in problems)
        else []
    )
    done = ""
    if fix and (problems or lost):
        with store.locks.exclusive("work", wait=False) as alone:
            if not alone:
                raise StoreError(
                    "the store can't be repaired while others work on it",
                    hint="wait until all builds have ended, and try again",
                )
            repair(store, problems)
            if lost:
                cache = _records(store)
                for result in lost:
                    cache.forget(result)
        done = f"; {len(problems) + len(lost)} repaired"
        problems, lost = _problems(store, deep=deep), []
    faults = [problem for problem in problems if problem.is_fault]
    leftovers = len(problems) - len(faults) + len(lost) + len(swept)
    checks = [*_faults(faults), *_summary(store, faults, leftovers, done, deep=deep)]
    return StoreState(checks=tuple(checks), is_sound=not faults)


def _problems(store: Store, *, deep: bool) -> tuple[Problem, ...]:
    problems = check(store, deep=deep)
    if not deep or any(each.kind is ProblemKind.DATABASE for each in problems):
        return problems
    # Not in every start of the doctor.
    from polyarch.doctor.unpacked import spoilt_snapshots  # noqa: PLC0415

    return (*problems, *spoilt_snapshots(store))


def _lost_results(store: Store) -> list[str]:
    """Return the results in the cache whose snapshots are gone; builds that need them find out, too."""
    present = set(os.listdir(store.snapshots_directory))
    return [
        result
        for result in _records(store).results()
        if any(name not in present for name in _own_snapshots(result))
    ]


def _records(store: Store) -> Records:
    return Records(store.database, Results(store.database, take_apart))


def _own_snapshots(result: str) -> tuple[SnapshotID, ...]:
    try:
        layers = LayerStack.from_json(result).layers
    except (ValueError, KeyError, TypeError):
        return ()
    return tuple(layer.snapshot for layer in layers if layer.blob is None)


def _faults(faults: Sequence[Problem]) -> Iterator[Check]:
    for problem in faults[:_SHOWN]:
        yield Check(
            name="store", grade=Grade.FAIL, text=problem.text, fix="polyarch doctor --repair"
        )
    if len(faults) > _SHOWN:
        text = f"{len(faults) - _SHOWN} more faults"
        yield Check(name="store", grade=Grade.FAIL, text=text, fix="polyarch doctor --repair")


def _summary(
    store: Store, faults: Sequence[Problem], leftovers: int, done: str, *, deep: bool
) -> Iterator[Check]:
    if faults:
        return
    depth = "every blob was read, and layers compared" if deep else "--deep reads every blob, too"
    text = f"{store.root} is sound ({depth}){done}"
    if leftovers:
        text += (
            f"; {leftovers} things that killed builds have left are harmless, and go by themselves"
        )
    yield Check(name="store", grade=Grade.OK, text=text)
