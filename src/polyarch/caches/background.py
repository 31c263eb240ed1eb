"""Work that a build doesn't wait for: done by threads beside it, the most urgent first, and left where it stalls.

`concurrent.futures` would wait at the end of the process for whatever a server doesn't answer. These threads are
daemons: what one of them hangs in ends with the process.
"""

from __future__ import annotations

import heapq
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from polyarch.threads import caught

__all__ = ["Answer", "Background"]

T = TypeVar("T")


class Answer(Generic[T]):
    """What a piece of work will give."""

    def __init__(self, work: Callable[[], T]) -> None:
        self._work = work
        self._done = threading.Event()
        self._result: T | None = None
        self._error: BaseException | None = None

    def run(self) -> None:
        """Do the work."""
        self._error = caught(self._run)
        self._done.set()

    def _run(self) -> None:
        self._result = self._work()

    def wait(self, seconds: float) -> bool:
        """Wait until the work is done, no longer than this; return whether it is."""
        return self._done.wait(max(0.0, seconds))

    def get(self) -> T | None:
        """Return what the work that is done gave. Raises what it raised."""
        if self._error is not None:
            raise self._error
        return self._result


class Background:
    """Does work in up to `threads` threads, which are begun when there is some."""

    def __init__(self, threads: int) -> None:
        self._threads = threads
        self._changed = threading.Condition()
        self._waiting: list[tuple[float, int, Callable[[], None]]] = []
        self._number = 0
        self._idle = 0
        self._begun = 0
        self._running = 0
        self._moved = time.monotonic()
        self._stopped = False

    def submit(self, work: Callable[[], T], urgency: float = 0.0) -> Answer[T]:
        """Have something done; what is most urgent comes first, else what was given first."""
        answer = Answer(work)
        with self._changed:
            self._number += 1
            heapq.heappush(self._waiting, (-urgency, self._number, answer.run))
            if not self._idle and self._begun < self._threads:
                self._begun += 1
                threading.Thread(target=self._work, name="cache", daemon=True).start()
            self._changed.notify_all()
        return answer

    def progress(self) -> None:
        """Note that some work gets on."""
        self._moved = time.monotonic()

    def finish(self, seconds: float, patience: float, check: Callable[[], None]) -> int:
        """Wait until all is done, for this many seconds at most, or until nothing got on for `patience`.

        `check` is called now and then, and ends the waiting by raising. Returns how much is left.
        """
        deadline = time.monotonic() + seconds
        self.progress()
        with self._changed:
            while left := len(self._waiting) + self._running:
                check()
                now = time.monotonic()
                until = min(deadline, self._moved + patience)
                if now >= until:
                    return left
                self._changed.wait(min(until - now, 0.2))
        return 0

    def stop(self) -> None:
        """Begin nothing any more; threads that have nothing to do end."""
        with self._changed:
            self._stopped = True
            self._waiting.clear()
            self._changed.notify_all()

    def _work(self) -> None:
        while True:
            with self._changed:
                self._idle += 1
                self._changed.notify_all()
                while not self._waiting and not self._stopped:
                    self._changed.wait()
                self._idle -= 1
                if self._stopped:
                    self._begun -= 1
                    self._changed.notify_all()
                    return
                work = heapq.heappop(self._waiting)[2]
                self._running += 1
            work()
            self.progress()
            with self._changed:
                self._running -= 1
                self._changed.notify_all()
