from __future__ import annotations

import threading

from polyarch.solver.workers import Workers


def test_threads_start_when_there_is_work_and_end_with_the_block() -> None:
    before = threading.active_count()
    done: list[int] = []
    with Workers() as workers:
        assert threading.active_count() == before
        workers.start(lambda: done.append(1), busy=0)

    assert (done, threading.active_count()) == ([1], before)


def test_idle_thread_is_used_again() -> None:
    idents: list[int] = []
    ended = threading.Semaphore(0)

    def task() -> None:
        idents.append(threading.get_ident())
        ended.release()

    with Workers() as workers:
        for _ in range(3):
            workers.start(task, busy=0)
            ended.acquire()

    assert len(set(idents)) == 1


def test_busy_threads_are_joined_by_others() -> None:
    meeting = threading.Barrier(3)

    def meet() -> None:
        meeting.wait()

    with Workers() as workers:
        for number in range(3):
            workers.start(meet, busy=number)

    assert not meeting.broken
