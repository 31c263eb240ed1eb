from __future__ import annotations

import threading

import pytest

from polyarch import progress
from polyarch.digest import sha256
from polyarch.errors import Cancelled, InputError
from polyarch.progress import (
    CancelToken,
    Event,
    StatusEvent,
    Step,
    StepEvent,
    announce,
    cancellable,
    check_cancelled,
    current_check,
    ignore_events,
    step,
)


def steps(events: list[Event]) -> list[tuple[str, bool, str]]:
    """Name, whether it has ended, and its error."""
    return [
        (each.name, each.completed is not None, each.error)
        for each in events
        if isinstance(each, StepEvent)
    ]


def test_a_step_is_shown_from_start_to_end() -> None:
    events: list[Event] = []

    with step(events.append, "load") as shown, shown.part("file", total=5):
        shown.status("file", 3, 5, started=0.0)

    assert steps(events) == [("load", False, ""), ("load", True, "")]
    statuses = [each for each in events if isinstance(each, StatusEvent)]
    assert [(each.id, each.current, each.completed is not None) for each in statuses] == [
        ("file", 0, False),
        ("file", 3, False),
        ("file", 5, True),
    ]
    assert {each.step for each in events} == {shown.digest}


@pytest.mark.parametrize(
    ("error", "shown"),
    [(InputError("no such file"), "no such file"), (Cancelled("the user"), "canceled")],
)
def test_a_failed_step_says_why(error: Exception, shown: str) -> None:
    events: list[Event] = []

    with pytest.raises(type(error)), step(events.append, "load"):
        raise error

    assert steps(events)[-1] == ("load", True, shown)


def test_a_part_that_fails_is_not_completed() -> None:
    events: list[Event] = []

    with pytest.raises(InputError), step(events.append, "load") as shown, shown.part("file"):
        raise InputError("broken")

    assert [each.completed for each in events if isinstance(each, StatusEvent)] == [None]


def test_steps_of_one_name_are_told_apart() -> None:
    with step(ignore_events, "pull") as one, step(ignore_events, "pull") as other:
        assert one.digest != other.digest


def test_cancel_wakes_everyone_once() -> None:
    token = CancelToken()
    called: list[str] = []
    token.on_cancel(lambda: called.append("first"))
    forget = token.on_cancel(lambda: called.append("forgotten"))
    token.on_cancel(lambda: called.append("second"))
    token.check()
    forget()

    token.cancel()
    token.cancel()
    token.on_cancel(lambda: called.append("late"))()
    forget()

    assert called == ["first", "second", "late"]
    assert token.cancelled
    with pytest.raises(Cancelled):
        token.check()


def test_a_callback_may_look_at_the_token() -> None:
    token = CancelToken()
    seen: list[bool] = []
    token.on_cancel(lambda: seen.append(token.cancelled))

    def register_another() -> None:
        token.on_cancel(lambda: seen.append(True))

    token.on_cancel(register_another)

    token.cancel()

    assert seen == [True, True]


def test_threads_may_register_and_cancel_at_once() -> None:
    for _ in range(20):
        token = CancelToken()
        start = threading.Barrier(5)
        called = [threading.Event() for _ in range(4)]

        def register(
            event: threading.Event, token: CancelToken = token, start: threading.Barrier = start
        ) -> None:
            start.wait()
            token.on_cancel(event.set)

        threads = [threading.Thread(target=register, args=(event,)) for event in called]
        for thread in threads:
            thread.start()
        start.wait()
        token.cancel()
        for thread in threads:
            thread.join()

        assert all(event.is_set() for event in called)


def test_a_part_that_takes_longer_tells_how_far_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[Event] = []
    shown = Step(events.append, "export", sha256(b"export"))
    monkeypatch.setattr(progress, "_TELLING", 0.0)

    with shown.counted("layer", lambda: 100) as more:
        more(30)
        more(80)

    told = [
        (each.current, each.total, each.completed is None)
        for each in events
        if isinstance(each, StatusEvent)
    ]
    assert told == [(30, 100, True), (110, 110, True), (110, 110, False)]


def test_a_part_that_is_done_soon_is_silent() -> None:
    events: list[Event] = []
    shown = Step(events.append, "export", sha256(b"export"))

    with shown.counted("layer", lambda: 100) as more:
        more(100)

    assert events == []


def test_a_step_may_be_told_of_before_it_begins() -> None:
    events: list[Event] = []
    announced = announce(events.append, "export")
    with step(events.append, "export", announced):
        pass

    told = [event for event in events if isinstance(event, StepEvent)]
    assert {event.step for event in told} == {announced}
    assert [(each.started is None, each.completed is None) for each in told] == [
        (True, True),
        (False, True),
        (False, False),
    ]


def test_a_thread_heeds_the_token_of_its_work() -> None:
    outer, inner = CancelToken(), CancelToken()
    outer.cancel()
    check_cancelled()
    with cancellable(outer):
        with cancellable(inner):
            check_cancelled()
            check_elsewhere = current_check()
        with pytest.raises(Cancelled):
            check_cancelled()

    check_cancelled()
    current_check()()
    inner.cancel()
    with pytest.raises(Cancelled):
        check_elsewhere()
