"""The walk through one result's stops: what the debugged thing is to an editor, a thread."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from enum import StrEnum

from polyarch.debugger.breakpoints import source_of
from polyarch.debugger.hands import Files, Goal
from polyarch.debugger.node import Input
from polyarch.debugger.tour import Stop, find_failed, find_out, find_over, tour
from polyarch.debugger.variables import Variables, scopes_of
from polyarch.errors import Cancelled, InternalError, PolyarchError
from polyarch.progress import CancelToken
from polyarch.record import field, frozen

__all__ = ["Frame", "Move", "Pause", "Stopped", "Walker"]

_ON_BREAKPOINT = "Paused on breakpoint"
_ON_ERROR = "Encountered an error during result evaluation"


class Move(StrEnum):
    """How to go on."""

    CONTINUE = "continue"
    NEXT = "next"
    IN = "stepIn"
    OUT = "stepOut"


@frozen
class Frame:
    """A frame of the stack as editors see it; `stop` is None where it isn't known which step it is."""

    id: int
    stop: Stop


@frozen
class Pause:
    """A stop that a build waits at. `error` is what a step failed with there; `ended` is cancelled when the build goes on."""

    frames: tuple[Frame, ...]
    ended: CancelToken
    error: PolyarchError | None = None
    work: list[threading.Thread] = field(default_factory=list)
    """What has to end before the build goes on."""

    @property
    def stop(self) -> Stop | None:
        """Where it is, None if that isn't known."""
        return self.frames[0].stop if self.frames else None


@frozen
class Stopped:
    """Why a build has stopped: `reason` and `description` are the protocol's, `hits` numbers of breakpoints."""

    reason: str
    description: str = ""
    text: str = ""
    hits: tuple[int, ...] = ()


Frames = Callable[[], int]
"""Gives the next frame's number."""
Resolve = Callable[[], Mapping[str, int]]


class Walker:
    """Builds one result from stop to stop. `walk` is called by one thread, all else by any other."""

    def __init__(
        self,
        number: int,
        goal: Goal,
        *,
        resolve: Resolve,
        next_frame: Frames,
        on_stop: Callable[[int, Stopped], None],
    ) -> None:
        """Have a walker; `resolve` gives the breakpoints that hold now, by steps."""
        self.id = number
        self.goal = goal
        self.stops = tour(goal.node)
        self._resolve = resolve
        self._next_frame = next_frame
        self._on_stop = on_stop
        self._variables = Variables()
        self._changed = threading.Condition()
        self._move: Move | None = None
        self._pause: Pause | None = None

    # --- the walk ---

    def walk(self, cancel: CancelToken, *, stop_on_entry: bool) -> None:
        """Build the result, stopping where that is wanted. Raises what a step fails with, after it was shown, and Cancelled."""
        forget = cancel.on_cancel(self._wake)
        try:
            at: int | None = None
            move = Move.CONTINUE
            if stop_on_entry and self.stops:
                at = self._stopped_at(0, Stopped(reason="step"), cancel)
                move = self._taken()
            while True:
                at, hits = self._next(at, move)
                if at is None:
                    break
                how = Stopped(reason="step")
                if hits:
                    how = Stopped(reason="breakpoint", description=_ON_BREAKPOINT, hits=hits)
                at = self._stopped_at(at, how, cancel)
                move = self._taken()
            self._build((Input(node=self.goal.node, label="/"),), cancel)
        finally:
            forget()
            self._variables.forget()

    def _next(self, at: int | None, move: Move) -> tuple[int | None, tuple[int, ...]]:
        """Return the next stop, None for the end, and which breakpoint it is, if it is one and nobody asked for it."""
        limits = {Move.NEXT: find_over, Move.OUT: find_out}
        limit: int | None = len(self.stops)
        if move is Move.IN and at is not None:
            limit = at + 1
        elif move in limits and at is not None:
            limit = limits[move](self.stops, at)
        end = len(self.stops) if limit is None else limit
        found = self._resolve()
        for number in range(0 if at is None else at + 1, min(end, len(self.stops))):
            stop = self.stops[number]
            if stop.is_first and stop.node.key in found:
                return number, (found[stop.node.key],)
        return (end, ()) if end < len(self.stops) else (None, ())

    def _stopped_at(self, number: int, how: Stopped, cancel: CancelToken) -> int:
        """Build what has to be there, and wait at a stop."""
        self._build(self.stops[number].ready, cancel)
        self._wait(number, how, None, cancel)
        return number

    def _build(self, inputs: tuple[Input, ...], cancel: CancelToken) -> None:
        try:
            if inputs:
                self.goal.hands.build(inputs)
        except Cancelled:
            raise
        except PolyarchError as error:
            if cancel.cancelled:
                raise Cancelled("canceled") from error
            self._show_failure(error, cancel)
            raise

    def _show_failure(self, error: PolyarchError, cancel: CancelToken) -> None:
        """Stop where a step has failed, if that's known."""
        found = find_failed(self.stops, self.goal.hands.failed(), error.place)
        how = Stopped(reason="exception", description=_ON_ERROR, text=str(error))
        self._wait(found, how, error, cancel)

    def _wait(
        self, number: int | None, how: Stopped, error: PolyarchError | None, cancel: CancelToken
    ) -> None:
        """Wait until somebody says how to go on. Raises Cancelled."""
        pause = Pause(frames=self._frames(number), ended=CancelToken(), error=error, work=[])
        with self._changed:
            self._move = None
            self._pause = pause
        self._on_stop(self.id, how)
        with self._changed:
            self._changed.wait_for(lambda: self._move is not None or cancel.cancelled)
            self._pause = None
        pause.ended.cancel()
        for each in pause.work:
            each.join()
        self._variables.forget()
        cancel.check()

    def _frames(self, number: int | None) -> tuple[Frame, ...]:
        frames = []
        while number is not None:
            frames.append(Frame(id=self._next_frame(), stop=self.stops[number]))
            number = find_out(self.stops, number)
        return tuple(frames)

    def _taken(self) -> Move:
        if self._move is None:
            raise InternalError("a build went on without being told to")
        return self._move

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()

    # --- what others ask ---

    @property
    def pause(self) -> Pause | None:
        """The stop that it waits at, None while it builds."""
        return self._pause

    def go(self, move: Move) -> None:
        """Have it go on; nothing if it does already."""
        with self._changed:
            if self._pause is not None and self._move is None:
                self._move = move
                self._changed.notify_all()

    def stack(self) -> list[dict[str, object]]:
        """Return the frames of the stop that it waits at."""
        pause = self._pause
        return [self._told(each) for each in pause.frames] if pause is not None else []

    def _told(self, frame: Frame) -> dict[str, object]:
        node = frame.stop.node
        told: dict[str, object] = {"id": frame.id, "name": node.name, "line": 0, "column": 0}
        if node.location is not None:
            place = node.location
            path = self.goal.paths.get(place.source.name, place.source.name)
            told |= {"source": source_of(path), "line": place.start, "endLine": place.end}
        return told

    def find_frame(self, number: int) -> Frame | None:
        """Return a frame of the stop that it waits at, None if it has no such one."""
        pause = self._pause
        frames = pause.frames if pause is not None else ()
        return next((each for each in frames if each.id == number), None)

    def scopes(self, frame: Frame) -> list[dict[str, object]]:
        """Return what there is to see in a frame; the files are those of the innermost one."""
        pause = self._pause
        files: Mapping[str, Files] = {}
        if pause is not None and frame is pause.frames[0]:
            hands = self.goal.hands
            files = {each.label: hands.files(each) for each in frame.stop.shown}
            if pause.error is not None:
                files = hands.left() or files
        return scopes_of(frame.stop.node, files, self._variables)

    def variables(self, number: int) -> list[dict[str, object]]:
        """Unfold a variable."""
        return self._variables.get(number)
