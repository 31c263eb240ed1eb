"""Threads that do the parts of one work side by side, for as long as a block lasts.

What they do is mostly waiting for the kernel, which Python lets others use. None is started for a
work of a few parts, and whoever hands out parts does some of them rather than to get far ahead.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import nullcontext
from types import TracebackType
from typing import Self

from polyarch.progress import cancellable, current_token

__all__ = ["Crew"]

_MOST = 4
_FEW = 4
_AHEAD = 64


class Crew:
    """Does jobs in whatever order. The first error is raised by `do` or `join`; later jobs aren't begun."""

    def __init__(self) -> None:
        self._jobs: deque[Callable[[], None]] = deque()
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._is_over = False
        self._busy = 0
        self._error: BaseException | None = None
        self._token = current_token()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._changed:
            self._is_over = True
            self._jobs.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def do(self, job: Callable[[], None]) -> None:
        """Have a job done sometime before `join` returns."""
        with self._changed:
            self._jobs.append(job)
            waiting = len(self._jobs)
            self._changed.notify()
        if waiting > _FEW and not self._threads:
            self._start()
        while waiting > _AHEAD:
            waiting = self._work()
        self._check()

    def join(self) -> None:
        """Return once all jobs are done."""
        while self._work():
            pass
        with self._changed:
            self._changed.wait_for(lambda: not self._busy)
        self._check()

    def _check(self) -> None:
        if self._error is not None:
            raise self._error

    def _start(self) -> None:
        count = min(_MOST, os.cpu_count() or 1) - 1
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(count)]
        for thread in self._threads:
            thread.start()

    def _run(self) -> None:
        with cancellable(self._token) if self._token is not None else nullcontext():
            while True:
                with self._changed:
                    self._changed.wait_for(lambda: self._jobs or self._is_over)
                    if not self._jobs:
                        return
                self._work()

    def _work(self) -> int:
        """Do one job, if any is left and all went well; return how many are left."""
        with self._changed:
            if not self._jobs:
                return 0
            job = self._jobs.popleft()
            self._busy += 1
        try:
            if self._error is None:
                job()
        except BaseException as error:  # noqa: BLE001 raised where the work was ordered
            self._error = self._error or error
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()
        return len(self._jobs)
