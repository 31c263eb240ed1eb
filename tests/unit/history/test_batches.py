"""Events that came at once, in the order in which people read them."""

from __future__ import annotations

from polyarch.digest import sha256
from polyarch.history.batches import in_order
from polyarch.progress import Event, LogEvent, StatusEvent, StepEvent, WarningEvent

ONE, TWO, THREE = sha256(b"1"), sha256(b"2"), sha256(b"3")


def test_steps_come_one_after_another_as_they_ended() -> None:
    told = StepEvent(step=ONE, name="one")
    warning = WarningEvent(step=ONE, short="short")
    print_two = LogEvent(step=TWO, stream=1, data=b"2", time=12.0)
    part = StatusEvent(step=ONE, id="part", started=11.0, completed=13.0)
    later = StatusEvent(step=ONE, id="later", started=13.0, completed=13.5)
    events: list[tuple[float, Event]] = [
        (0.0, told),
        (0.0, warning),
        (10.0, StepEvent(step=ONE, name="one", started=10.0)),
        (14.0, StepEvent(step=ONE, name="one", started=13.0, completed=14.0, cached=True)),
        # In no certain order: the end of the first time after that of the second.
        (11.0, StepEvent(step=ONE, name="one", started=10.0, completed=11.0)),
        (12.5, StepEvent(step=TWO, name="two", started=11.5, completed=12.5, error="failed")),
        (9.0, StepEvent(step=THREE, name="three", started=9.0)),
        (13.5, later),
        (13.0, part),
        (12.0, print_two),
    ]

    found = list(in_order(events))

    assert found == [
        (0.0, told),
        (11.5, StepEvent(step=TWO, name="two", started=11.5)),
        (12.0, print_two),
        (12.5, StepEvent(step=TWO, name="two", started=11.5, completed=12.5, error="failed")),
        # Worked at for a second twice, and as long it took.
        (10.0, StepEvent(step=ONE, name="one", started=12.0)),
        (13.0, part),
        (13.5, later),
        (14.0, StepEvent(step=ONE, name="one", started=12.0, completed=14.0, cached=True)),
        (9.0, StepEvent(step=THREE, name="three", started=9.0)),
        (0.0, warning),
    ]


def test_a_lone_event_stays_as_it_is() -> None:
    lone = (14.0, StepEvent(step=ONE, name="one", started=13.0, completed=14.0))

    assert list(in_order([lone])) == [lone]
    assert list(in_order([])) == []
