"""The same kind of work several times at once, in threads that end with it.

`concurrent.futures` would do, but it imports logging: 10 ms, which every build that fetches or pushes
something would pay for.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterable

__all__ = ["side_by_side"]

Task = Callable[[], None]


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
    waiting = deque(tasks)
    errors: list[BaseException] = []
    lock = threading.Lock()

    def work() -> None:
        while True:
            with lock:
                if errors or not waiting:
                    return
                task = waiting.popleft()
            try:
                task()
            except BaseException as error:  # noqa: BLE001 it is raised where all began
                fail(error)

    def fail(error: BaseException) -> None:
        with lock:
            errors.append(error)
            is_first = len(errors) == 1
        if is_first:
            on_failure()

    more = min(at_once, len(waiting)) - 1
    threads = [threading.Thread(target=work, name=f"{name}-{number}") for number in range(more)]
    for thread in threads:
        thread.start()
    try:
        work()
        for thread in threads:
            thread.join()
    except BaseException as error:  # noqa: BLE001 it is raised below, when nothing works any more
        fail(error)
        for thread in threads:
            thread.join()
    if errors:
        raise errors[0]
