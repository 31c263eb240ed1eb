"""Threads that live as long as a block, started when there is work for them and not before."""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from types import TracebackType
from typing import Self

__all__ = ["Workers"]

Task = Callable[[], None]


class Workers:
    """A group of threads for tasks that never raise. Leaving the block waits for all of them.

    Threads are used again, so that what is kept per thread (a database connection) stays cheap.
    `concurrent.futures` would do, but imports logging, which an unchanged rebuild would pay for.
    """

    def __init__(self) -> None:
        self._tasks: SimpleQueue[Task | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for _ in self._threads:
            self._tasks.put(None)
        for thread in self._threads:
            thread.join()

    def start(self, task: Task, *, busy: int) -> None:
        """Start `task`, while `busy` others haven't ended."""
        if busy >= len(self._threads):
            thread = threading.Thread(target=self._work, name=f"solver-{len(self._threads)}")
            self._threads.append(thread)
            thread.start()
        self._tasks.put(task)

    def _work(self) -> None:
        while (task := self._tasks.get()) is not None:
            task()
