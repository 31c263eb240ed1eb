"""The debug adapter: an editor's requests, and the walkers that they are about.

First `launched` waits for what is to be built, before anything else is done; then `attend` answers in a thread of its own,
while `debug` builds.

Source: the specification of the Debug Adapter Protocol, version 1.71.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from polyarch.debugger.breakpoints import Breakpoint, Breakpoints, source_of
from polyarch.debugger.hands import Goal
from polyarch.debugger.link import Link
from polyarch.debugger.repl import Repl
from polyarch.debugger.walker import Frame, Move, Stopped, Walker
from polyarch.errors import InputError, PolyarchError
from polyarch.progress import CancelToken
from polyarch.record import frozen
from polyarch.threads import caught, side_by_side

__all__ = ["Adapter", "Launch"]

_THREAD_BITS = 24
"""The thread of a variable stands above so many bits of its number."""
Request = Mapping[str, Any]
Answer = Mapping[str, object] | None


@frozen
class Launch:
    """What an editor wants to be built, "" and () for what it leaves to the command line.

    `words` are flags of the command, as in a shell.
    """

    dockerfile: str = ""
    context: str = ""
    target: str = ""
    builder: str = ""
    words: tuple[str, ...] = ()
    stop_on_entry: bool = False


class Adapter:
    """Talks with one editor, for one build. `attach` are the words of a command that lends a terminal to an address."""

    def __init__(self, link: Link, attach: Sequence[str]) -> None:
        self.link = link
        self._launch = Launch()
        self._breakpoints = Breakpoints(self._tell_breakpoint)
        self._configured = threading.Event()
        self._cancel = CancelToken()
        self._lock = threading.Lock()
        self._walkers: dict[int, Walker] = {}
        self._numbers = itertools.count(1)
        self._frames = itertools.count(1)
        self._texts: dict[str, str] = {}
        self._has_terminals = False
        self.repl = Repl(link, attach)
        moves = {each.value: partial(self._go, each) for each in Move}
        self._requests: dict[str, Callable[[Mapping[str, Any]], Answer]] = {
            "setBreakpoints": self._set_breakpoints,
            "configurationDone": self._configuration_done,
            "threads": self._threads,
            "stackTrace": self._stack_trace,
            "scopes": self._scopes,
            "variables": self._variables,
            "evaluate": self._evaluate,
            "source": self._source,
            "disconnect": self._end,
            "terminate": self._end,
            **moves,
        }

    # --- before the build ---

    def launched(self, check: Callable[[Launch], None]) -> Launch:
        """Wait for what is to be built, which `check` raises InputError for if that can't be.

        Raises InputError if the editor leaves before.
        """
        is_known = False
        while (request := self.link.receive()) is not None:
            command = request.get("command")
            if command == "initialize" and not is_known:
                is_known = True
                self._initialize(request)
            elif command == "launch" and is_known:
                launch = self._launch_of(request, check)
                if launch is not None:
                    self._launch = launch
                    return launch
            elif command in {"disconnect", "terminate"}:
                self.link.answer(request)
                break
            else:
                self.link.refuse(request, _too_early(str(command), is_known=is_known))
        raise InputError("the editor ended the session before it launched a build")

    def _initialize(self, request: Request) -> None:
        arguments = _mapping(request)
        self.repl.has_terminals = bool(arguments.get("supportsRunInTerminalRequest"))
        known = {"supportsConfigurationDoneRequest": True, "supportsTerminateRequest": True}
        self.link.answer(request, known)

    def _launch_of(self, request: Request, check: Callable[[Launch], None]) -> Launch | None:
        try:
            launch = _read_launch(_mapping(request))
            check(launch)
        except PolyarchError as error:
            self.link.refuse(request, str(error))
            return None
        self.link.answer(request)
        return launch

    # --- the build ---

    def attend(self, cancel: CancelToken) -> None:
        """Answer requests from now on, in a thread, until the editor leaves: then `cancel` is cancelled."""
        self._cancel = cancel
        cancel.on_cancel(self._configured.set)
        threading.Thread(target=self._listen, name="editor", daemon=True).start()
        self.link.event("initialized")

    def debug(self, goals: Sequence[Goal]) -> None:
        """Build results, each a thread to the editor, as it wants it. Raises what their steps fail with, and Cancelled."""
        self._configured.wait()
        self._cancel.check()
        tasks = [partial(self._walk, goal) for goal in goals]
        side_by_side(tasks, len(tasks), name="debugged")

    def _walk(self, goal: Goal) -> None:
        self._load(goal)
        with self._lock:
            number = next(self._numbers)
            walker = self._walkers[number] = Walker(
                number,
                goal,
                resolve=lambda: self._breakpoints.resolve(
                    [each.node for each in walker.stops], goal.paths
                ),
                next_frame=lambda: next(self._frames),
                on_stop=self._stopped,
            )
        self.link.event("thread", {"reason": "started", "threadId": number})
        try:
            walker.walk(self._cancel, stop_on_entry=self._launch.stop_on_entry)
        finally:
            with self._lock:
                del self._walkers[number]
            self.link.event("thread", {"reason": "exited", "threadId": number})

    def _load(self, goal: Goal) -> None:
        """Tell of the texts that steps stand in."""
        for path, text in goal.texts.items():
            with self._lock:
                before = self._texts.get(path)
                self._texts[path] = text
            if before != text:
                reason = "new" if before is None else "changed"
                self.link.event("loadedSource", {"reason": reason, "source": source_of(path)})

    def ended(self, status: int, error: str = "") -> None:
        """Tell how the build ended; the last that the editor hears."""
        if error:
            self.link.tell("stderr", f"ERROR: {error}\n")
        self.link.event("terminated")
        self.link.event("exited", {"exitCode": status})

    def _stopped(self, thread: int, how: Stopped) -> None:
        body: dict[str, object] = {"reason": how.reason, "threadId": thread}
        if how.description:
            body["description"] = how.description
        if how.text:
            body["text"] = how.text
        if how.hits:
            body["hitBreakpointIds"] = list(how.hits)
        self.link.event("stopped", body)

    def _tell_breakpoint(self, breakpoint_: Breakpoint) -> None:
        self.link.event("breakpoint", {"reason": "changed", "breakpoint": breakpoint_.told()})

    # --- requests ---

    def _listen(self) -> None:
        # What makes the talk end makes the build end.
        error = caught(self._listen_on)
        if isinstance(error, PolyarchError):
            self.link.tell("stderr", f"ERROR: {error}\n")
        self._cancel.cancel()

    def _listen_on(self) -> None:
        while (request := self.link.receive()) is not None:
            # Files are built and read for these, or the editor is asked something.
            if request.get("command") in {"variables", "evaluate"}:
                threading.Thread(
                    target=self._carry_out, args=(request,), name="request", daemon=True
                ).start()
            else:
                self._carry_out(request)

    def _carry_out(self, request: Request) -> None:
        command = str(request.get("command", ""))
        call = self._requests.get(command)
        if call is None:
            self.link.refuse(request, _unknown(command))
            return
        try:
            body = call(_mapping(request))
        except PolyarchError as error:
            self.link.refuse(request, str(error))
        else:
            self.link.answer(request, body)
            if command in {"disconnect", "terminate"}:
                self._cancel.cancel()

    def _set_breakpoints(self, arguments: Request) -> Answer:
        source = arguments.get("source")
        path = source.get("path") if isinstance(source, dict) else None
        if not isinstance(path, str):
            raise InputError("setBreakpoints: source.path isn't given")
        asked = arguments.get("breakpoints") or []
        if not isinstance(asked, list):
            raise InputError("setBreakpoints: breakpoints must be a list")
        lines = [_line(each) for each in asked]
        return {"breakpoints": [each.told() for each in self._breakpoints.set(path, lines)]}

    def _configuration_done(self, _arguments: Request) -> Answer:
        self._configured.set()
        return None

    def _threads(self, _arguments: Request) -> Answer:
        with self._lock:
            found = [{"id": each.id, "name": each.goal.name} for each in self._walkers.values()]
        return {"threads": found}

    def _walker(self, number: object) -> Walker:
        with self._lock:
            walker = self._walkers.get(number) if isinstance(number, int) else None
        if walker is None:
            raise InputError(f"no such thread: {number}")
        return walker

    def _stack_trace(self, arguments: Request) -> Answer:
        frames = self._walker(arguments.get("threadId")).stack()
        return {"stackFrames": frames, "totalFrames": len(frames)}

    def _frame(self, number: object) -> tuple[Walker, Frame]:
        with self._lock:
            walkers = list(self._walkers.values())
        for walker in walkers:
            frame = walker.find_frame(number) if isinstance(number, int) else None
            if frame is not None:
                return walker, frame
        raise InputError(f"no such frame id: {number}")

    def _scopes(self, arguments: Request) -> Answer:
        walker, frame = self._frame(arguments.get("frameId"))
        return {"scopes": [_numbered(walker.id, each) for each in walker.scopes(frame)]}

    def _variables(self, arguments: Request) -> Answer:
        number = arguments.get("variablesReference")
        if not isinstance(number, int):
            raise InputError("variables: variablesReference is no number")
        walker = self._walker(number >> _THREAD_BITS)
        found = walker.variables(number & ((1 << _THREAD_BITS) - 1))
        return {"variables": [_numbered(walker.id, each) for each in found]}

    def _evaluate(self, arguments: Request) -> Answer:
        with self._lock:
            walkers = [each for each in self._walkers.values() if each.pause is not None]
        number = arguments.get("frameId")
        chosen = [each for each in walkers if number and each.find_frame(number) is not None]
        text = self.repl.evaluate(arguments, (chosen or walkers)[:1])
        return {"result": text, "variablesReference": 0}

    def _source(self, arguments: Request) -> Answer:
        source = arguments.get("source")
        path = source.get("path") if isinstance(source, dict) else None
        with self._lock:
            text = self._texts.get(path) if isinstance(path, str) else None
        if text is None:
            raise InputError(f"file not found: {path}")
        return {"content": text}

    def _go(self, move: Move, arguments: Request) -> Answer:
        self._walker(arguments.get("threadId")).go(move)
        return {"allThreadsContinued": False} if move is Move.CONTINUE else None

    def _end(self, _arguments: Request) -> Answer:
        return None


def _mapping(request: Request) -> Mapping[str, Any]:
    arguments = request.get("arguments")
    return arguments if isinstance(arguments, dict) else {}


def _line(asked: object) -> int:
    line = asked.get("line") if isinstance(asked, dict) else None
    if not isinstance(line, int):
        raise InputError("setBreakpoints: the line of a breakpoint is no number")
    return line


def _numbered(thread: int, told: Mapping[str, object]) -> dict[str, object]:
    """Return a scope or variable with the thread in its number."""
    number = told["variablesReference"]
    assert isinstance(number, int)
    return {**told, "variablesReference": (thread << _THREAD_BITS) | number if number else 0}


def _read_launch(arguments: Mapping[str, Any]) -> Launch:
    words = arguments.get("args", [])
    if not isinstance(words, list) or not all(isinstance(each, str) for each in words):
        raise InputError("launch: args must be a list of texts")
    on_entry = arguments.get("stopOnEntry", False)
    if not isinstance(on_entry, bool):
        raise InputError("launch: stopOnEntry must be true or false")
    return Launch(
        dockerfile=_text(arguments, "dockerfile"),
        context=_text(arguments, "contextPath"),
        target=_text(arguments, "target"),
        builder=_text(arguments, "builder"),
        words=tuple(words),
        stop_on_entry=on_entry,
    )


def _text(arguments: Mapping[str, Any], name: str) -> str:
    value = arguments.get(name, "")
    if not isinstance(value, str):
        raise InputError(f"launch: {name} must be a text")
    return value


def _too_early(command: str, *, is_known: bool) -> str:
    if command == "initialize":
        return "already initialized"
    wanted = "launch" if is_known else "initialize"
    return f"{command}: the first thing to ask for is {wanted}"


def _unknown(command: str) -> str:
    if command == "pause":
        return "pause: a step can't be stopped; set a breakpoint at the next one"
    if command == "initialize":
        return "already initialized"
    return f"{command}: not implemented"
