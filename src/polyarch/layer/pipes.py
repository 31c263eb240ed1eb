"""Threads between two ends of a stream: reading ahead, and the same work on many chunks in order.

No thread outlives its `with` block, and none is started for a stream of a single chunk.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import Generic, Protocol, Self, TypeVar

from polyarch.threads import caught

__all__ = ["Handover", "InOrder", "ReadAhead"]

T = TypeVar("T")

_MAX_AHEAD = 8
_MAX_THREADS = 8


class ReadAhead:
    """Gives the chunks of an iterator as a stream; all but the first two are made in a thread."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._ready: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._reads = 0
        self._ended = False
        self._stopped = False
        self._rest = b""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, at most `size`; none at the end. Raises what the iterator raises."""
        data = self._rest or self._next()
        self._rest = data[size:]
        return data[:size] if self._rest else data

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _next(self) -> bytes:
        self._reads += 1
        if self._reads <= 2:
            return next((chunk for chunk in self._chunks if chunk), b"")
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="read-ahead")
            self._thread.start()
        with self._changed:
            while not self._ready and not self._ended:
                self._changed.wait()
            if self._ready:
                data = self._ready.popleft()
                self._changed.notify_all()
                return data
        if self._error is not None:
            raise self._error
        return b""

    def _run(self) -> None:
        error = caught(self._read_ahead)
        with self._changed:
            self._error = error
            self._ended = True
            self._changed.notify_all()

    def _read_ahead(self) -> None:
        for data in self._chunks:
            with self._changed:
                while len(self._ready) >= _MAX_AHEAD and not self._stopped:
                    self._changed.wait()
                if self._stopped:
                    return
                if data:
                    self._ready.append(data)
                    self._changed.notify_all()


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class Handover:
    """Gives what is written to it to `take`, which reads it as a stream in a thread, a few chunks behind."""

    def __init__(self, take: Callable[[_Readable], None], name: str) -> None:
        self._take = take
        self._name = name
        self._chunks: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._error: BaseException | None = None
        self._ended = False
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def write(self, data: bytes, /) -> None:
        """Hand `data` on. Raises what reading has raised."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name=self._name)
            self._thread.start()
        with self._changed:
            while len(self._chunks) >= _MAX_AHEAD and not self._ended:
                self._changed.wait()
            if self._error is None:
                self._chunks.append(data)
                self._changed.notify_all()
        if self._error is not None:
            raise self._error

    def finish(self) -> None:
        """Wait until all is read. Raises what reading has raised."""
        self._end()
        if self._error is not None:
            raise self._error

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, at most `size`; none at the end."""
        data = self._rest or self._next()
        self._rest = data[size:]
        return data[:size] if self._rest else data

    def _next(self) -> bytes:
        with self._changed:
            while not self._chunks and not self._ended:
                self._changed.wait()
            data = self._chunks.popleft() if self._chunks else b""
            self._changed.notify_all()
        return data

    def _end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        error = caught(lambda: self._take(self))
        with self._changed:
            self._error = error
            self._ended = True
            self._changed.notify_all()


class _Task(Generic[T]):
    __slots__ = ("done", "error", "result", "work")

    def __init__(self, work: Callable[[], T]) -> None:
        self.work = work
        self.result: T | None = None
        self.error: BaseException | None = None
        self.done = False

    def run(self) -> None:
        self.error = caught(self._run)

    def _run(self) -> None:
        self.result = self.work()


class InOrder(Generic[T]):
    """Does pieces of work in threads and gives their results to `emit` in the order they came.

    There are as many threads as processors, unless `threads` says how many. `most` is how many pieces of work there are
    before one that is added waits, done and not yet emitted ones included; twice as many as threads if it isn't given.
    """

    def __init__(self, emit: Callable[[T], object], *, threads: int = 0, most: int = 0) -> None:
        self._emit = emit
        self._tasks: deque[_Task[T]] = deque()
        self._waiting: deque[_Task[T]] = deque()
        self._changed = threading.Condition()
        self._threads: list[threading.Thread] = []
        self._ended = False
        self._limit = threads or min(_MAX_THREADS, os.cpu_count() or 1)
        self._most = most or 2 * self._limit

    def add(self, work: Callable[[], T]) -> None:
        """Have `work` done; waits when too much is waiting. Emits what is ready."""
        if len(self._threads) < self._limit:
            self._threads.append(threading.Thread(target=self._run, name="compress"))
            self._threads[-1].start()
        task = _Task(work)
        with self._changed:
            self._tasks.append(task)
            self._waiting.append(task)
            self._changed.notify_all()
        self._collect(self._most)

    def finish(self) -> None:
        """Wait for all work and emit the rest. Raises what a piece of work has raised."""
        self._collect(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with self._changed:
            self._ended = True
            self._waiting.clear()
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()

    def _collect(self, most: int) -> None:
        while self._tasks and (len(self._tasks) > most or self._tasks[0].done):
            task = self._tasks.popleft()
            with self._changed:
                while not task.done:
                    self._changed.wait()
            if task.error is not None:
                raise task.error
            assert task.result is not None
            self._emit(task.result)

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._waiting and not self._ended:
                    self._changed.wait()
                if not self._waiting:
                    return
                task = self._waiting.popleft()
            task.run()
            with self._changed:
                task.done = True
                self._changed.notify_all()
