"""What workers tell while they build, as it is shown; and that a part has moved, where a worker was lost."""

from __future__ import annotations

import json
import queue
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from polyarch.cluster.scheduler import Future, Scheduler
from polyarch.cluster.wire import Answer, Sent
from polyarch.digest import Digest, sha256
from polyarch.library.codec import decode
from polyarch.library.messages import read_answer, read_event
from polyarch.pipeline.choosing import with_node_name
from polyarch.platforms import Platform
from polyarch.progress import CANCELED, CancelToken, Event, Sink, StepEvent, WarningEvent
from polyarch.record import field, frozen, mutable, replace
from polyarch.request.result import BuildResult
from polyarch.request.values import BuildRequest

__all__ = ["Built", "Following", "Part"]

_POLL = 0.2
"""Seconds after which it is looked whether tasks have ended, while nothing is told."""
_LATE = 5.0
"""Seconds for which the last events of a task are waited for after its end."""

Message = Mapping[str, Any]


@mutable
class Part:
    """A platform of a build: who builds it at this moment, and what is under way there."""

    platform: Platform
    request: BuildRequest
    attempt: str = ""
    worker: str = ""
    batches: int = 0
    """How many batches of events of this attempt have come."""
    open: dict[Digest, StepEvent] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """What the part is called in messages: the platform."""
        return str(self.platform)


@frozen
class Built:
    """What came of a part: `files` are what its outputs wrote, by the number of the output; `along` has those that aren't at a place."""

    result: BuildResult
    files: Mapping[str, Sent]
    along: Sequence[bytes]


class Following:
    """Waits for tasks, and shows what they tell."""

    def __init__(self, scheduler: Scheduler, sink: Sink, cancel: CancelToken) -> None:
        self._scheduler = scheduler
        self._sink = sink
        self._cancel = cancel
        self._heard: queue.SimpleQueue[Message | None] = queue.SimpleQueue()

    def run(
        self, parts: Sequence[Part], topic: str, submit: Callable[[Part], Future]
    ) -> dict[str, Built]:
        """Have all parts built; returns what came of them by their names.

        Raises what a part fails with, once the others don't run any more, and Cancelled.
        """
        by_name = {part.name: part for part in parts}
        self._scheduler.hear(topic, self._heard)
        forget = self._cancel.on_cancel(partial(self._heard.put, None))
        futures: dict[str, Future] = {}
        try:
            futures |= {part.name: submit(part) for part in parts}
            return self._wait(by_name, futures)
        finally:
            forget()
            self._scheduler.cancel(list(futures.values()))
            self._scheduler.forget(topic)

    def _wait(self, parts: Mapping[str, Part], futures: Mapping[str, Future]) -> dict[str, Built]:
        answers: dict[str, Built] = {}
        while len(answers) < len(parts):
            self._take(parts, _POLL)
            self._cancel.check()
            waiting = [future for name, future in futures.items() if name not in answers]
            self._scheduler.check(waiting)
            for name, future in futures.items():
                if name not in answers and future.done():
                    text, along = self._scheduler.result(future)
                    answer = decode(Answer, json.loads(text))
                    self._take_rest(parts, parts[name], answer)
                    result = read_answer(json.loads(answer.message))
                    answers[name] = Built(result=result, files=answer.files, along=along)
        return answers

    def _take_rest(self, parts: Mapping[str, Part], part: Part, answer: Answer) -> None:
        """Show what was told before an answer, which may come later than that."""
        until = time.monotonic() + _LATE
        while time.monotonic() < until and (
            part.attempt != answer.attempt or part.batches < answer.batches
        ):
            self._take(parts, _POLL)

    def _take(self, parts: Mapping[str, Part], seconds: float) -> None:
        """Show what has been told so far; wait for a while if that is nothing."""
        try:
            message = self._heard.get(timeout=seconds)
            while message is not None:
                self._show(parts[message["part"]], message)
                message = self._heard.get_nowait()
        except queue.Empty:
            return

    def _show(self, part: Part, batch: Message) -> None:
        if batch["attempt"] != part.attempt:
            self._begin(part, batch)
        part.batches += 1
        show = with_node_name(self._sink, part.worker)
        for each in json.loads(batch["events"]):
            event = read_event(each)
            if event is not None:
                show(self._of_part(part, event))

    def _begin(self, part: Part, batch: Message) -> None:
        """Take note of who builds a part; if somebody else did before, say so, and end what that one had begun."""
        before, part.worker = part.worker, str(batch["node"])
        part.attempt, part.batches = batch["attempt"], 0
        if not before:
            return
        moved = f"{before} was lost: {part.name} is built again on {part.worker}"
        now = time.time()
        show = with_node_name(self._sink, before)
        for event in part.open.values():
            show(replace(event, completed=now, error=CANCELED))
        part.open.clear()
        told = sha256(f"{part.attempt} moved".encode())
        self._sink(StepEvent(step=told, name=moved, started=now, completed=now))
        self._sink(WarningEvent(step=told, short=moved))

    def _of_part(self, part: Part, event: Event) -> Event:
        """Tell an event from those of other parts and attempts, in which the same step may be under way."""

        def own(digest: Digest) -> Digest:
            return sha256(f"{part.name} {part.attempt} {digest}".encode())

        event = replace(event, step=own(event.step))
        if isinstance(event, StepEvent):
            event = replace(event, inputs=tuple(map(own, event.inputs)))
            if event.completed is not None:
                part.open.pop(event.step, None)
            elif event.started is not None:
                part.open[event.step] = event
        return event
