"""Work beside a build: what is urgent first, waited for no longer than it may take, given up where nothing moves."""

from __future__ import annotations

import threading

import pytest

from polyarch.caches.background import Background
from polyarch.errors import Cancelled


def nothing() -> None:
    pass


def test_the_most_urgent_comes_first() -> None:
    background = Background(1)
    gate, done = threading.Event(), []
    background.submit(gate.wait)
    for name, urgency in (("later", 0.0), ("soon", 2.0), ("last", 0.0)):
        background.submit(lambda name=name: done.append(name), urgency)  # type: ignore[misc]
    gate.set()

    assert background.finish(10.0, 10.0, nothing) == 0
    assert done == ["soon", "later", "last"]
    background.stop()


def test_answers_give_results_and_errors() -> None:
    background = Background(2)
    good, bad = background.submit(lambda: 7), background.submit(lambda: int("no number"))

    assert good.wait(10.0)
    assert good.get() == 7
    assert bad.wait(10.0)
    with pytest.raises(ValueError, match="no number"):
        bad.get()
    background.stop()


@pytest.mark.parametrize(("seconds", "patience"), [(0.0, 10.0), (10.0, 0.0)])
def test_what_hangs_is_left(seconds: float, patience: float) -> None:
    background = Background(1)
    gate = threading.Event()
    background.submit(gate.wait)
    background.submit(nothing)

    assert background.finish(seconds, patience, nothing) == 2
    background.stop()
    gate.set()
    assert not background.submit(nothing).wait(0.0)


def test_waiting_ends_when_it_is_cancelled() -> None:
    background = Background(1)
    gate = threading.Event()
    background.submit(gate.wait)

    def cancelled() -> None:
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        background.finish(10.0, 10.0, cancelled)
    background.stop()
    gate.set()
