"""Looks records of steps up at one address, ahead of those who need them and no longer than they are worth."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import TypeVar

from polyarch.caches.background import Answer, Background
from polyarch.caches.form import CachedResult
from polyarch.caches.stepstore import StepStore
from polyarch.digest import Digest
from polyarch.errors import PolyarchError
from polyarch.graph.vertex import Vertex
from polyarch.progress import CancelToken
from polyarch.record import frozen
from polyarch.solver.key import CacheKey

__all__ = ["Gain", "StepReader"]

T = TypeVar("T")
_LOOKUPS_AT_ONCE = 8
_AHEAD = 64
"""Answers that may be asked for ahead."""
_PATIENCE = 10.0
"""Seconds for one answer."""
_WAKE = 0.2


@frozen
class Gain:
    """What was found at an address: steps, the seconds that they once took, the bytes of the layers that they made.

    `trouble` is why nothing was asked for any more, "" if that isn't so.
    """

    steps: int = 0
    seconds: float = 0.0
    size: int = 0
    trouble: str = ""


class StepReader:
    """Looks records up; used from several threads.

    `seconds` is how long a build waits for the address in all. After an error nothing is asked for any more.
    """

    def __init__(self, store: StepStore, cancel: CancelToken, seconds: float) -> None:
        self.store = store
        self._cancel = cancel
        self._left = seconds
        self._background = Background(_LOOKUPS_AT_ONCE)
        self._answers: dict[str, Answer[CachedResult | None]] = {}
        self._used = 0
        self._lock = threading.Lock()
        self._found: dict[Digest, CachedResult] = {}
        self._trouble = ""

    def ask_ahead(self, tag: str) -> bool:
        """Have a record looked up that may be needed; return whether there was room for that."""
        with self._lock:
            if self._trouble or len(self._answers) >= self._used + _AHEAD:
                return False
        self._ask(tag)
        return True

    def _ask(self, tag: str) -> Answer[CachedResult | None]:
        with self._lock:
            if tag not in self._answers:
                self._answers[tag] = self._background.submit(lambda: self.store.find(tag))
            return self._answers[tag]

    def find(self, tag: str) -> CachedResult | None:
        """Return a record; None if there is none, or nobody says. Raises Cancelled."""
        if self._trouble:
            return None
        answer = self._ask(tag)
        self._used += 1
        return self._wait(answer)

    def candidates(self, key: CacheKey) -> Sequence[CachedResult]:
        """Return the records of what looks alike. Raises Cancelled."""
        if self._trouble:
            return ()
        found = self._background.submit(lambda: tuple(self.store.candidates(key)))
        return self._wait(found) or ()

    def _wait(self, answer: Answer[T]) -> T | None:
        started = time.monotonic()
        patience = min(_PATIENCE, self._left)
        while not answer.wait(min(patience, _WAKE)):
            self._cancel.check()
            if time.monotonic() - started >= patience:
                self._trouble = "it didn't answer in time"
                return None
        self._left -= time.monotonic() - started
        try:
            return answer.get()
        except PolyarchError as error:
            self._cancel.check()
            self._trouble = str(error)
            return None

    def note(self, vertex: Vertex, result: CachedResult) -> None:
        """Count a find."""
        self._found[vertex.digest] = result

    def forget(self, vertex: Vertex) -> None:
        """Don't count a find whose layers are gone."""
        self._found.pop(vertex.digest, None)

    def end(self) -> Gain:
        """Ask for nothing any more; return what was found."""
        self._background.stop()
        found = self._found.values()
        return Gain(
            steps=len(found),
            seconds=sum(each.seconds for each in found),
            size=sum(each.layers[-1].blob.size for each in found if each.layers),
            trouble=self._trouble,
        )
