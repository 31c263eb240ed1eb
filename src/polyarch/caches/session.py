"""The caches of one build: what was read before it, what is asked while it goes on, and what is told of them at its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from polyarch.caches.elsewhere import ImportedResults, Several
from polyarch.caches.importing import Imported
from polyarch.caches.mounts import KeptAt
from polyarch.caches.pushing import Pushed, Pusher
from polyarch.caches.stepreader import Gain, StepReader
from polyarch.caches.steps import StepCache
from polyarch.digest import DiffID
from polyarch.errors import PolyarchError, RemoteError
from polyarch.golang.units import human_size
from polyarch.progress import CancelToken, Sink, Step, step
from polyarch.record import frozen
from polyarch.request.result import CacheUse
from polyarch.snapshot.stack import LayerStack
from polyarch.solver.elsewhere import Elsewhere
from polyarch.solver.key import CacheKey
from polyarch.solver.records import Record
from polyarch.store.snapshots import SnapshotRecords

__all__ = ["LOOKUP_BUDGET", "CacheSession", "StepAddress", "diff_ids_of"]

LOOKUP_BUDGET = 60.0
"""Seconds that a build waits for what is looked up, in all, unless it is told how long."""
_NO_LIMIT = 24 * 3600.0
"""Seconds for pushing the rest, unless told: what doesn't get on is given up long before."""


def diff_ids_of(snapshots: SnapshotRecords) -> Callable[[LayerStack], Sequence[DiffID] | None]:
    """Return what gives the diff IDs of a result's layers, None unless all are known."""

    def find(stack: LayerStack) -> Sequence[DiffID] | None:
        found: list[DiffID] = []
        for layer in stack.layers:
            record = None if layer.diff_id else snapshots.find(layer.snapshot)
            diff_id = layer.diff_id or (record.diff_id if record else None)
            if diff_id is None:
                return None
            found.append(diff_id)
        return found

    return find


@frozen
class StepAddress:
    """An address of single steps: who looks up there, who pushes there; `token` ends what goes on in the background."""

    shown: str
    token: CancelToken
    reader: StepReader | None = None
    pusher: Pusher | None = None
    is_needed: bool = False
    """Whether a build fails if it can't be written."""


class CacheSession:
    """What a build asks of caches. `imported` are those that were read as a whole, `steps` those of single steps."""

    def __init__(
        self,
        imported: Imported | None,
        addresses: Sequence[StepAddress],
        cache: StepCache | None,
        mounts: KeptAt | None,
        diff_ids: Callable[[LayerStack], Sequence[DiffID] | None],
        places: dict[str, Mapping[int, tuple[str, ...]]],
    ) -> None:
        self.records: Mapping[CacheKey, Record] = imported.records if imported else {}
        self.places = places
        self.mounts = mounts
        known = ImportedResults(imported.records, diff_ids) if imported else None
        self.elsewhere: Elsewhere | None = Several.of((known, cache))
        self.steps = cache
        self._addresses = addresses

    @property
    def is_far(self) -> bool:
        """Whether steps are asked for one by one."""
        return self.elsewhere is not None and self.elsewhere.is_far

    def finish(
        self, budget: float | None, sink: Sink, check: Callable[[], None]
    ) -> tuple[CacheUse, ...]:
        """Wait for what is being pushed, tell what the addresses were good for, and return it.

        `budget` is the seconds that this may take, None for as long as something gets on.

        Raises what `check` raises, and RemoteError if an address that is needed couldn't be written.
        """
        deadline = time.monotonic() + (_NO_LIMIT if budget is None else budget)
        return tuple(
            _finish(each, max(0.0, deadline - time.monotonic()), sink, check)
            for each in self._addresses
        )

    def abandon(self) -> None:
        """End all that goes on in the background."""
        for each in self._addresses:
            each.token.cancel()
            if each.reader is not None:
                each.reader.end()
            if each.pusher is not None:
                each.pusher.stop()


def _finish(
    address: StepAddress, seconds: float, sink: Sink, check: Callable[[], None]
) -> CacheUse:
    gain = _told_gain(address, sink) if address.reader else Gain()
    pushed = Pushed()
    failure: PolyarchError | None = None
    if address.pusher is not None:
        try:
            with step(sink, f"exporting steps to {address.shown}") as shown:
                pushed = address.pusher.finish(seconds, check)
                _tell_pushed(pushed, shown)
        except RemoteError as error:
            failure = error
    address.token.cancel()
    if failure is not None and address.is_needed:
        raise failure
    return CacheUse(
        address=address.shown,
        found=gain.steps,
        saved_seconds=gain.seconds,
        found_bytes=gain.size,
        pushed=pushed.steps,
        pushed_bytes=pushed.size,
        left=pushed.left,
        trouble=pushed.trouble or gain.trouble,
    )


def _told_gain(address: StepAddress, sink: Sink) -> Gain:
    assert address.reader is not None
    gain = address.reader.end()
    try:
        with step(sink, f"importing steps from {address.shown}") as shown:
            if gain.steps:
                spared = f", {gain.seconds:.1f}s of work spared" if gain.seconds else ""
                size = f", layers of {human_size(gain.size)}" if gain.size else ""
                shown.remark(f"{_steps(gain.steps)} found{spared}{size}")
            elif not gain.trouble:
                shown.remark("no step found")
            if gain.trouble:
                raise RemoteError(gain.trouble)
    except RemoteError:
        pass  # told of by the step: a cache only saves time
    return gain


def _tell_pushed(pushed: Pushed, shown: Step) -> None:
    size = f", {human_size(pushed.size)}" if pushed.size else ""
    shown.remark(f"{_steps(pushed.steps)} pushed{size}")
    if pushed.trouble:
        left = f" ({_steps(pushed.left)} left out)" if pushed.left else ""
        raise RemoteError(f"{pushed.trouble}{left}")


def _steps(number: int) -> str:
    return "1 step" if number == 1 else f"{number} steps"
