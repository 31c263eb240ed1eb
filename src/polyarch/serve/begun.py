"""Builds that have begun, and go on when their results are wanted.

A frontend at the client learns the config of an image when it asks for what a Dockerfile makes. So the Dockerfile is read and
lowered then, once: the build waits there, with all that it has read, until the client returns that result as its own.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future

from polyarch.errors import Cancelled
from polyarch.oci.config import ImageConfig
from polyarch.pipeline.company import Meaning
from polyarch.platforms import Platform
from polyarch.progress import CancelToken, Event, Sink
from polyarch.request.result import BuildResult
from polyarch.serve.heeding import Heeding
from polyarch.serve.messages import SolveRequest

__all__ = ["Begun", "Early", "Goes"]

Recorded = Callable[[Sink, Callable[[Sink], BuildResult]], BuildResult]
"""Carries out a build that tells its events to what it is given, and keeps its record."""

Goes = Callable[["Begun"], Mapping[str, str]]
"""Carries out a build, and returns what the client is told of it."""


class Early:
    """Tells events at once, and tells them again to the record of a build, which begins later. In any thread."""

    def __init__(self, told: Sink) -> None:
        self._told = told
        self._lock = threading.Lock()
        self._events: list[Event] = []
        self._kept: Sink | None = None
        self._is_repeating = False

    def __call__(self, event: Event) -> None:
        """Tell an event."""
        with self._lock:
            if self._kept is None:
                self._events.append(event)
            tell = self._kept or self._told
        tell(event)

    def tell(self, event: Event) -> None:
        """Hand on an event that the record has been told, unless it was told before."""
        if not self._is_repeating:
            self._told(event)

    def keep(self, kept: Sink) -> None:
        """Let a record have all events, which it hands on to `tell`."""
        with self._lock:
            self._is_repeating = True
            for event in self._events:
                kept(event)
            self._events.clear()
            self._is_repeating = False
            self._kept = kept


class Begun(Heeding):
    """A build of a Dockerfile, in a thread of its own, which waits when it knows what the Dockerfile means."""

    def __init__(self, request: SolveRequest, tell: Sink, cancel: CancelToken) -> None:
        self.request = request
        self.events = Early(tell)
        self.recorded: Recorded = lambda sink, build: build(sink)
        self._cancel = cancel
        self._lock = threading.Lock()
        self._is_wanted: bool | None = None
        self._decided = threading.Event()
        self._configs: Future[Mapping[Platform, ImageConfig]] = Future()
        self._built: Future[BuildResult] = Future()
        self._ended: Future[Mapping[str, str]] = Future()

    def start(self, goes: Goes) -> Mapping[Platform, ImageConfig]:
        """Begin; returns the configs of the images as far as they are known, none of a Dockerfile that can't be built."""
        threading.Thread(target=self._run, args=(goes,), name="begun").start()
        return self._configs.result()

    def _run(self, goes: Goes) -> None:
        forget = self._cancel.on_cancel(self.leave)
        try:
            self._ended.set_result(goes(self))
        except BaseException as error:  # noqa: BLE001 whoever waits for the build has it raised
            self._ended.set_exception(error)
            if not self._built.done():
                self._built.set_exception(error)
        finally:
            forget()
            if not self._configs.done():
                self._configs.set_result({})

    def understood(self, meaning: Meaning) -> Meaning:
        """See Company; waits until somebody wants the result. Raises Cancelled if nobody does."""
        self._configs.set_result({each.platform: each.config for each in meaning.lowered})
        self._decided.wait()
        if not self._is_wanted:
            raise Cancelled("nobody wants the result")
        return meaning

    def note(self, result: BuildResult) -> None:
        """Take the result; what is left to do is to send it."""
        self._built.set_result(result)

    def finish(self) -> Mapping[str, str] | None:
        """Go on to the end; returns what the client is told, None if the build was left before. Raises what the build raises."""
        if not self._decide(is_wanted=True):
            return None

        def build(kept: Sink) -> BuildResult:
            self.events.keep(kept)
            self._decided.set()
            return self._built.result()

        self.recorded(self.events.tell, build)
        return self._ended.result()

    def leave(self) -> None:
        """End here, unless the result is wanted already."""
        self._decide(is_wanted=False)

    def wait(self) -> None:
        """Wait for the end, whichever it is."""
        self._ended.exception()

    def _decide(self, *, is_wanted: bool) -> bool:
        """Return whether the build ends as this says: the first word counts."""
        with self._lock:
            if self._is_wanted is None:
                self._is_wanted = is_wanted
                if not is_wanted:
                    self._decided.set()
        return self._is_wanted == is_wanted
