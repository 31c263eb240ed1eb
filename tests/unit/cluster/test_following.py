"""What workers tell, as it's shown: who does what, what has moved, and that nothing is shown after its end."""

from __future__ import annotations

import json
import queue
from collections.abc import Mapping, Sequence
from typing import Any

import pytest

from polyarch.cluster.following import Following, Part
from polyarch.cluster.scheduler import Scheduler
from polyarch.cluster.wire import Answer
from polyarch.digest import sha256
from polyarch.errors import Cancelled, InputError
from polyarch.library.codec import encode
from polyarch.library.messages import error_message, event_message, result_message
from polyarch.platforms import linux
from polyarch.progress import CancelToken, Event, StepEvent, WarningEvent
from polyarch.request.result import BuildResult
from polyarch.request.values import BuildRequest

STEP = sha256(b"step")


class FakeFuture:
    def __init__(self) -> None:
        self.answer: tuple[str, list[bytes]] | None = None
        self.status = "pending"

    def done(self) -> bool:
        return self.answer is not None


class FakeScheduler(Scheduler):
    """Tells what a script says, a message at each look."""

    def __init__(self, script: Sequence[tuple[str, Any]]) -> None:
        super().__init__(client=None, address="tcp://fake:1")
        self.script = list(script)
        self.futures: dict[str, FakeFuture] = {}
        self.cancelled: list[Any] = []
        self.heard: queue.SimpleQueue[Mapping[str, Any] | None] = queue.SimpleQueue()

    def hear(self, topic: str, heard: queue.SimpleQueue[Mapping[str, Any] | None]) -> None:
        self.heard = heard

    def forget(self, topic: str) -> None:
        pass

    def cancel(self, futures: Sequence[Any]) -> None:
        self.cancelled += futures

    def check(self, futures: Sequence[Any]) -> None:
        if self.script:
            what, value = self.script.pop(0)
            if what == "tell":
                self.heard.put(value)
            else:
                self.futures[what].answer = value

    def result(self, future: Any) -> Any:
        return future.answer


def told(part: str, node: str, attempt: str, *events: Event) -> tuple[str, Any]:
    batch = {"part": part, "node": node, "attempt": attempt, "number": 0}
    return "tell", {**batch, "events": json.dumps([event_message(each) for each in events])}


def answered(part: str, attempt: str, batches: int, message: Mapping[str, Any]) -> tuple[str, Any]:
    answer = Answer(attempt=attempt, batches=batches, message=json.dumps(message))
    return part, (json.dumps(encode(answer)), [])


def begun(name: str) -> StepEvent:
    return StepEvent(step=STEP, name=name, started=1.0)


def ended(name: str) -> StepEvent:
    return StepEvent(step=STEP, name=name, started=1.0, completed=2.0)


def follow(
    script: Sequence[tuple[str, Any]], parts: Sequence[str] = ("linux/arm64",)
) -> tuple[list[Event], FakeScheduler, Any]:
    scheduler = FakeScheduler(script)
    shown: list[Event] = []
    wanted = [
        Part(platform=linux(each.removeprefix("linux/")), request=BuildRequest(context="."))
        for each in parts
    ]

    def submit(part: Part) -> FakeFuture:
        scheduler.futures[part.name] = FakeFuture()
        return scheduler.futures[part.name]

    found = Following(scheduler, shown.append, CancelToken()).run(wanted, "topic", submit)
    return shown, scheduler, found


def test_steps_are_shown_with_the_worker_that_does_them() -> None:
    shown, scheduler, found = follow(
        [
            told("linux/arm64", "pi", "1", begun("[1/2] RUN make"), ended("[1/2] RUN make")),
            answered("linux/arm64", "1", 1, result_message(BuildResult(ran=1))),
        ]
    )

    assert [event.name for event in shown if isinstance(event, StepEvent)] == [
        "[pi 1/2] RUN make"
    ] * 2
    assert list(found) == ["linux/arm64"]
    assert scheduler.cancelled == list(scheduler.futures.values())


def test_the_same_step_of_two_parts_is_shown_twice() -> None:
    shown, _, _ = follow(
        [
            told("linux/arm64", "pi", "1", begun("[internal] load")),
            told("linux/amd64", "pc", "2", begun("[internal] load")),
            answered("linux/arm64", "1", 1, result_message(BuildResult())),
            answered("linux/amd64", "2", 1, result_message(BuildResult())),
        ],
        ("linux/arm64", "linux/amd64"),
    )

    assert len({event.step for event in shown}) == 2


def test_what_a_lost_worker_had_begun_is_ended_and_the_user_told() -> None:
    shown, _, _ = follow(
        [
            told("linux/arm64", "pi", "1", begun("[1/2] RUN make")),
            told("linux/arm64", "pi2", "2", begun("[1/2] RUN make"), ended("[1/2] RUN make")),
            answered("linux/arm64", "2", 1, result_message(BuildResult())),
        ]
    )

    steps = [event for event in shown if isinstance(event, StepEvent)]
    assert [(each.name, each.error) for each in steps] == [
        ("[pi 1/2] RUN make", ""),
        ("[pi 1/2] RUN make", "canceled"),
        ("pi was lost: linux/arm64 is built again on pi2", ""),
        ("[pi2 1/2] RUN make", ""),
        ("[pi2 1/2] RUN make", ""),
    ]
    assert steps[0].step == steps[1].step != steps[3].step == steps[4].step
    (warning,) = (event for event in shown if isinstance(event, WarningEvent))
    assert warning.short == "pi was lost: linux/arm64 is built again on pi2"


def test_what_is_told_late_is_shown_before_the_answer_counts() -> None:
    script = [
        told("linux/arm64", "pi", "1"),
        answered("linux/arm64", "1", 2, result_message(BuildResult())),
    ]
    scheduler_script = [*script]
    late = told("linux/arm64", "pi", "1", begun("[2/2] RUN late"))[1]

    class Late(FakeScheduler):
        def result(self, future: Any) -> Any:
            self.heard.put(late)
            return super().result(future)

    scheduler = Late(scheduler_script)
    shown: list[Event] = []
    part = Part(platform=linux("arm64"), request=BuildRequest(context="."))

    def submit(each: Part) -> FakeFuture:
        scheduler.futures[each.name] = FakeFuture()
        return scheduler.futures[each.name]

    Following(scheduler, shown.append, CancelToken()).run([part], "topic", submit)

    assert [event.name for event in shown if isinstance(event, StepEvent)] == ["[pi 2/2] RUN late"]


def test_what_one_part_fails_with_ends_the_others() -> None:
    scheduler = FakeScheduler(
        [
            told("linux/arm64", "pi", "1"),
            answered(
                "linux/arm64", "1", 1, error_message(InputError("no such stage", hint="look"))
            ),
        ]
    )
    parts = [
        Part(platform=linux(each), request=BuildRequest(context=".")) for each in ("arm64", "amd64")
    ]

    def submit(part: Part) -> FakeFuture:
        scheduler.futures[part.name] = FakeFuture()
        return scheduler.futures[part.name]

    with pytest.raises(InputError, match="no such stage"):
        Following(scheduler, lambda _event: None, CancelToken()).run(parts, "topic", submit)

    assert scheduler.cancelled == list(scheduler.futures.values())


def test_cancelling_ends_all() -> None:
    cancel = CancelToken()
    scheduler = FakeScheduler([])
    part = Part(platform=linux("arm64"), request=BuildRequest(context="."))

    def submit(each: Part) -> FakeFuture:
        scheduler.futures[each.name] = FakeFuture()
        cancel.cancel()
        return scheduler.futures[each.name]

    with pytest.raises(Cancelled):
        Following(scheduler, lambda _event: None, cancel).run([part], "topic", submit)

    assert len(scheduler.cancelled) == 1
