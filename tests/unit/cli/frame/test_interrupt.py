from __future__ import annotations

import os
import queue
import signal
import threading

import pytest

from polyarch.cli.frame.interrupt import cancel_on_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_cancels_what_the_main_thread_waits_for(number: signal.Signals) -> None:
    ended: queue.SimpleQueue[str] = queue.SimpleQueue()
    with cancel_on_signals() as cancel:
        cancel.on_cancel(lambda: ended.put("cancelled"))
        os.kill(os.getpid(), number)

        assert ended.get(timeout=10) == "cancelled"


def test_the_main_thread_need_not_take_notice() -> None:
    cancelled, blocked = threading.Event(), threading.Event()

    def send() -> None:
        blocked.wait(10)
        signal.pthread_kill(threading.get_ident(), signal.SIGTERM)

    other = threading.Thread(target=send)
    other.start()
    with cancel_on_signals() as cancel:
        cancel.on_cancel(cancelled.set)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        blocked.set()

        assert cancelled.wait(10)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        other.join()


def test_signals_at_once_are_one_wish() -> None:
    with cancel_on_signals() as cancel:
        for _ in range(3):
            os.kill(os.getpid(), signal.SIGINT)

    assert cancel.cancelled


def test_what_was_set_before_is_set_again() -> None:
    before = [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)]

    with cancel_on_signals() as cancel:
        pass

    assert [signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)] == before
    assert signal.set_wakeup_fd(-1) == -1
    assert not cancel.cancelled
