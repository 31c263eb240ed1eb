"""Records of steps on their way to one address, pushed beside the build by threads that it doesn't wait for.

The steps that took longest go first. At the build's end the rest has as many seconds as the user allows; an address that
refuses or hangs is given up, and what is told of it is one line.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

from polyarch.caches.background import Background
from polyarch.caches.form import CachedResult
from polyarch.caches.layerpush import LayerPush
from polyarch.caches.names import Keys
from polyarch.caches.stepstore import StepStore
from polyarch.errors import Cancelled, PolyarchError
from polyarch.progress import CancelToken
from polyarch.record import frozen
from polyarch.snapshot.stack import LayerStack
from polyarch.solver.key import candidate_key
from polyarch.solver.records import Record

__all__ = ["Pushed", "Pusher", "StepResult"]

_AT_ONCE = 3
_PATIENCE = 10.0
"""Seconds without any progress after which an address is given up; less if it never answered."""
_FIRST_PATIENCE = 3.0


@frozen
class StepResult:
    """A result to be pushed: its record and layers, the keys that it has at the address, and its name there.

    `seconds` is how long the step took, 0 if it didn't run. `is_newer` has it written over what is there.
    """

    record: Record
    stack: LayerStack
    keys: Keys
    name: str
    seconds: float = 0.0
    is_newer: bool = False


@frozen
class Pushed:
    """What came of it: records and bytes that were sent, results that were left; `trouble` says why, if anything does."""

    steps: int = 0
    size: int = 0
    left: int = 0
    trouble: str = ""


class Pusher:
    """Pushes results to one address. `find_places` is as in `gather`."""

    def __init__(
        self,
        store: StepStore,
        layers: LayerPush,
        find_places: Callable[[LayerStack], Mapping[int, Sequence[str]]],
        cancel: CancelToken,
    ) -> None:
        self.store = store
        self._layers = layers
        layers.on_bytes = self.sent
        self._find_places = find_places
        self._cancel = cancel
        self._background = Background(_AT_ONCE)
        layers.on_progress = self._background.progress
        self._lock = threading.Lock()
        self._steps = 0
        self._size = 0
        self._failed = 0
        self._trouble = ""
        self._has_answered = False

    def submit(self, result: StepResult, op: str) -> None:
        """Have a result of an op pushed."""
        if result.stack.layers:
            self._layers.hints[result.stack.layers[-1].snapshot] = op
        self._background.submit(lambda: self._guarded(result), urgency=result.seconds)

    def sent(self, size: int) -> None:
        """Count bytes that were sent."""
        with self._lock:
            self._size += size
            self._has_answered = True
        self._background.progress()

    def _guarded(self, result: StepResult) -> None:
        if self._trouble:
            self._failed += 1
            return
        try:
            self._push(result)
        except Cancelled:
            self._failed += 1
        except PolyarchError as error:
            self._failed += 1
            self._trouble = str(error)

    def _push(self, result: StepResult) -> None:
        keys = (*result.keys.fast, *result.keys.slow)
        alike = result.keys.alike
        tags = self.store.tags(keys, alike, result.name, only_free=not result.is_newer)
        self._has_answered = True
        if not tags:
            return
        stack = result.stack
        layers = self._layers.push(stack)
        if layers is None:
            return
        candidates = [candidate_key(each, result.name) for each in alike]
        places = self._find_places(stack) if candidates else {}
        made = CachedResult(
            keys=(*keys, *candidates),
            identity=result.name,
            step=result.record.step,
            explain=result.keys.ingredients.to_json(),
            layers=layers,
            places={number: tuple(paths) for number, paths in places.items()},
            seconds=result.seconds,
        )
        self._cancel.check()
        self.store.put(tags, made)
        with self._lock:
            self._steps += 1

    def finish(self, seconds: float, check: Callable[[], None]) -> Pushed:
        """Wait for what is left, for this many seconds at most. `check` may end that by raising."""
        try:
            patience = _PATIENCE if self._has_answered else _FIRST_PATIENCE
            left = self._background.finish(seconds, patience, check)
        finally:
            self._background.stop()
        trouble = self._trouble
        if left and not trouble:
            trouble = "there was no more time" if self._has_answered else "it doesn't answer"
        return Pushed(steps=self._steps, size=self._size, left=left + self._failed, trouble=trouble)

    def stop(self) -> None:
        """Begin nothing any more."""
        self._background.stop()
