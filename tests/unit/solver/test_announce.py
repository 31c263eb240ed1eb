from __future__ import annotations

from polyarch.progress import Event, StatusEvent, StepEvent
from polyarch.solver.announce import Announcer
from tests.support.fakes.solving import Bench


class Heard:
    """An announcer, what it said, and a clock that counts its questions."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.time = 0.0
        self.announcer = Announcer(self.events.append, self.clock)

    def clock(self) -> float:
        self.time += 1
        return self.time


STEP = Bench().run("step", Bench().image("image"))
[IMAGE] = STEP.inputs


def event(started: float, completed: float | None = None, error: str = "") -> StepEvent:
    return StepEvent(
        step=STEP.digest,
        name="step",
        inputs=(IMAGE.digest,),
        started=started,
        completed=completed,
        error=error,
    )


def test_step_is_started_once() -> None:
    heard = Heard()
    heard.announcer.started(STEP)
    heard.announcer.started(STEP)
    heard.announcer.ran(STEP)

    assert heard.events == [event(1.0), event(1.0, 2.0)]


def test_step_that_ran_after_it_was_found_is_started_again() -> None:
    heard = Heard()
    heard.announcer.found(STEP)
    heard.events.clear()
    heard.announcer.started(STEP)
    heard.announcer.ran(STEP)

    assert heard.events == [event(3.0), event(3.0, 4.0)]


def test_source_of_several_found_steps_is_announced_once() -> None:
    heard = Heard()
    heard.announcer.found(STEP)
    heard.announcer.found(Bench().run("other", IMAGE))

    names = [each.name for each in heard.events if isinstance(each, StepEvent)]
    assert names == ["image", "step", "other"]


def test_error_without_a_text_has_its_name() -> None:
    heard = Heard()
    heard.announcer.failed(STEP, ValueError())

    assert heard.events == [event(1.0, 1.0, error="ValueError")]


def test_only_what_began_is_canceled() -> None:
    heard = Heard()
    heard.announcer.started(STEP)
    heard.announcer.canceled(IMAGE)
    heard.announcer.cancel_all()

    assert heard.events == [event(1.0), event(1.0, 2.0, error="canceled")]


def test_wait_begins_and_ends() -> None:
    heard = Heard()
    heard.announcer.waited(STEP)
    heard.announcer.waits(STEP)
    heard.announcer.waited(STEP)

    waiting = "waiting for another build of this step"
    assert heard.events == [
        event(1.0),
        StatusEvent(step=STEP.digest, id=waiting, started=2.0),
        StatusEvent(step=STEP.digest, id=waiting, started=2.0, completed=3.0),
    ]


def test_unnamed_vertex_is_never_mentioned() -> None:
    heard = Heard()
    silent = Bench().run("", Bench().scratch())
    for tell in (heard.announcer.started, heard.announcer.waits, heard.announcer.waited):
        tell(silent)
    heard.announcer.found(silent)

    assert heard.events == []
