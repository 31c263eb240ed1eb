"""The same kind of work several times at once, in threads that end with it.

`concurrent.futures` would do, but it imports logging: 10 ms, which every build that fetches or pushes
something would pay for.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

__all__ = ["Once", "caught", "side_by_side"]

Task = Callable[[], None]
_T = TypeVar("_T")


class Once(Generic[_T]):
    """Something that is made by the first thread that wants it, while the others wait."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._made: list[_T] = []

    def get(self, make: Callable[[], _T]) -> _T:
        """Return it. Raises what `make` raises; whoever comes then tries again."""
        with self._lock:
            if not self._made:
                self._made.append(make())
            return self._made[0]


def side_by_side(
    tasks: Iterable[Task],
    at_once: int,
    *,
    name: str,
    on_failure: Callable[[], None] = lambda: None,
) -> None:
    """Do all tasks, up to `at_once` at the same time, the caller's thread among those that work.

    Raises the first error, or what interrupts the caller: then no further task is begun, `on_failure` is
    called, and those that are under way are waited for. `name` is that of the threads.
    """
    work = _Work(tasks, on_failure)

    def begin() -> None:
        for number in range(1, min(at_once, len(work.waiting))):
            threading.Thread(target=work.help, name=f"{name}-{number}").start()
        work.do()
        work.wait()

    error = caught(begin)
    if error is not None:
        work.fail(error)
        work.wait()
    if work.errors:
        raise work.errors[0]


def caught(task: Task) -> BaseException | None:
    """Do a task and return what it raised, for another thread to raise: here it would be lost."""
    try:
        task()
    except BaseException as error:  # noqa: BLE001 see above
        return error
    return None


class _Work:
    """What is left to do, and what went wrong.

    Threads count themselves: one that the caller was interrupted in starting is either counted or finds
    nothing to do. They aren't joined, as one whose joining was interrupted counts as ended (Python 3.11).
    """

    def __init__(self, tasks: Iterable[Task], on_failure: Callable[[], None]) -> None:
        self.waiting = deque(tasks)
        self.errors: list[BaseException] = []
        self._helpers = 0
        self._on_failure = on_failure
        self._changed = threading.Condition()

    def help(self) -> None:
        """Do what there is, in a thread of its own."""
        with self._changed:
            self._helpers += 1
        self.do()
        with self._changed:
            self._helpers -= 1
            self._changed.notify()

    def do(self) -> None:
        """Do one task after another until there are none, or one failed, here or elsewhere."""
        error = caught(self._do_all)
        if error is not None:
            self.fail(error)

    def _do_all(self) -> None:
        while task := self._next():
            task()

    def _next(self) -> Task | None:
        with self._changed:
            return None if self.errors or not self.waiting else self.waiting.popleft()

    def wait(self) -> None:
        """Wait until no thread does anything any more."""
        with self._changed:
            self._changed.wait_for(lambda: not self._helpers)

    def fail(self, error: BaseException) -> None:
        """Keep an error, and say once that there is one."""
        with self._changed:
            self.errors.append(error)
            is_first = len(self.errors) == 1
        if is_first:
            self._on_failure()
