"""Work side by side: all of it, or the first error."""

from __future__ import annotations

import signal
import threading

import pytest

from polyarch.threads import side_by_side


def test_all_tasks_are_done() -> None:
    done: list[int] = []

    side_by_side([lambda n=n: done.append(n) for n in range(20)], 4, name="test")  # type: ignore[misc]

    assert sorted(done) == list(range(20))


def test_as_many_as_may_are_under_way_at_once() -> None:
    meeting = threading.Barrier(3)
    met: list[int] = []

    side_by_side([lambda: met.append(meeting.wait(10))] * 3, 3, name="test")

    assert sorted(met) == [0, 1, 2]


def test_one_task_needs_no_thread() -> None:
    seen: list[threading.Thread] = []

    side_by_side([lambda: seen.append(threading.current_thread())], 4, name="test")

    assert seen == [threading.current_thread()]


def test_the_first_error_ends_the_others() -> None:
    ended = threading.Event()
    begun: list[str] = []

    def fail() -> None:
        begun.append("fail")
        raise ValueError("first")

    def wait() -> None:
        begun.append("wait")
        assert ended.wait(10)
        raise ValueError("second")

    with pytest.raises(ValueError, match="first"):
        side_by_side(
            [wait, fail, lambda: begun.append("more")], 2, name="test", on_failure=ended.set
        )

    assert sorted(begun) == ["fail", "wait"]


def test_an_interrupt_of_the_caller_ends_the_others() -> None:
    begun, ended = threading.Event(), threading.Event()
    done: list[bool] = []

    def wait() -> None:
        if threading.current_thread() is threading.main_thread():
            assert begun.wait(10)
            return
        begun.set()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
        done.append(ended.wait(10))

    with pytest.raises(KeyboardInterrupt):
        side_by_side([wait, wait], 2, name="test", on_failure=ended.set)

    assert done == [True]
