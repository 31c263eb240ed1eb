"""The monitor of `debug build`: programs in the container of a step that failed, or of the result, and a prompt beside them.

Ctrl-a c goes from the program that is attached to the prompt, and back. The prompt's commands are docker buildx's.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import FrameType

from polyarch.debugger.boxes import Boxes, Invoke
from polyarch.debugger.hands import Goal
from polyarch.debugger.keys import Keys, Prompt
from polyarch.debugger.node import Input
from polyarch.debugger.tour import Stop, find_failed, tour
from polyarch.errors import Cancelled, InputError, PolyarchError
from polyarch.progress import CancelToken
from polyarch.threads import side_by_side

__all__ = ["Monitor"]

_LAUNCHING = "Launching interactive container. Press Ctrl-a-c to switch to monitor console"
_RESTARTED = 'Interactive container was restarted with process "{}". Press Ctrl-a-c to switch to the new container'
_DETACHED = (
    'Process isn\'t attached (previous "exec" exited?). '
    'Use "attach" for attaching or "rollback" or "exec" for running new one.'
)
_HELP = {
    "attach": ("attach to a process in the container", "attach PID"),
    "exec": ("execute a process in the interactive container", "exec COMMAND [ARG...]"),
    "exit": ("exits monitor", "exit"),
    "help": (
        "shows this message. Optionally pass a command name as an argument to print the detailed usage.",
        "help [COMMAND]",
    ),
    "ps": (
        'list processes invoked by "exec". Use "attach" to attach IO to that process',
        "ps",
    ),
    "reload": ("reloads the context and build it", "reload"),
    "rollback": (
        "re-runs the interactive container with the step's rootfs contents",
        "rollback [--init] [COMMAND] [ARG...]",
    ),
}


class Monitor:
    """A debugger at a terminal; see `polyarch.debugger.hands.Debugger`. `show` says what a step failed with."""

    def __init__(
        self, invoke: Invoke, keys: int, screen: int, show: Callable[[PolyarchError], None]
    ) -> None:
        self._invoke = invoke
        self._keys = keys
        self._screen = screen
        self._show = show
        self._cancel = CancelToken()
        self._is_reloaded = False
        self._wake = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    @contextmanager
    def ready(self) -> Iterator[None]:
        """Hear of the window's size; in the main thread."""

        def resized(number: int, frame: FrameType | None) -> None:
            del number, frame
            self._tell(b"w")

        before = signal.signal(signal.SIGWINCH, resized)
        try:
            yield
        finally:
            signal.signal(signal.SIGWINCH, before)

    def take_reload(self) -> bool:
        """Say, once, whether the build was cancelled since it is to begin anew."""
        was, self._is_reloaded = self._is_reloaded, False
        return was

    def _reload(self) -> None:
        self._is_reloaded = True
        raise Cancelled("the build begins anew")

    def _tell(self, what: bytes) -> None:
        with contextlib.suppress(OSError):
            os.write(self._wake[1], what)

    def attend(self, cancel: CancelToken) -> None:
        """See Debugger."""
        self._cancel = cancel
        cancel.on_cancel(partial(self._tell, b"c"))

    def debug(self, goals: Sequence[Goal]) -> None:
        """See Debugger."""
        failures: list[tuple[Goal, PolyarchError]] = []

        def build(goal: Goal) -> None:
            try:
                goal.hands.build((Input(node=goal.node, label="/"),))
            except PolyarchError as error:
                failures.append((goal, error))
                raise

        try:
            side_by_side([partial(build, each) for each in goals], len(goals), name="debugged")
        except Cancelled:
            raise
        except PolyarchError:
            goal, error = failures[0]
            self._open(goal, error)
            raise error from error.__cause__
        if self._invoke.always and goals:
            self._open(goals[0], None)

    def _open(self, goal: Goal, error: PolyarchError | None) -> None:
        """Show a step that failed, or the result, at the terminal."""
        self._cancel.check()
        if error is not None:
            self._show(error)
        try:
            stop = _stop_of(goal, error)
            if not os.isatty(self._keys):
                raise InputError("standard input is no terminal")
            boxes = Boxes(goal.hands, stop, is_failed=error is not None, ended=self._ended)
            with Keys(self._keys, self._screen, self._wake[0]) as keys:
                _Session(self._invoke, boxes, keys, self._cancel, self._reload).run()
        except Cancelled:
            raise
        except PolyarchError as trouble:
            self._show(InputError(f"failed to run monitor: {trouble}"))

    def _ended(self) -> None:
        self._tell(b"e")


def _stop_of(goal: Goal, error: PolyarchError | None) -> Stop:
    result = Input(node=goal.node, label="/")
    if error is None:
        return Stop(node=goal.node, depth=0, shown=(result,), is_after=True)
    stops = tour(goal.node)
    found = find_failed(stops, goal.hands.failed(), error.place)
    if found is None:
        raise InputError("it isn't known which step has failed")
    return stops[found]


class _Session:
    """The monitor while it is open."""

    def __init__(
        self,
        invoke: Invoke,
        boxes: Boxes,
        keys: Keys,
        cancel: CancelToken,
        reload: Callable[[], None],
    ) -> None:
        self._invoke = invoke
        self._boxes = boxes
        self._keys = keys
        self._cancel = cancel
        self._prompt = Prompt(keys.show)
        self._in_prompt = False
        self._commands: dict[str, Callable[[Sequence[str]], None]] = {
            "attach": self._attach,
            "exec": self._exec,
            "help": self._help,
            "ps": self._ps,
            "reload": lambda _words: reload(),
            "rollback": self._rollback,
        }

    def run(self) -> None:
        """Let the user work until they leave. Raises Cancelled."""
        try:
            self._say(_LAUNCHING)
            self._start(self._invoke, fresh=True)
            while self._one():
                pass
        finally:
            self._boxes.close()

    def _one(self) -> bool:
        """Take what comes next; False is the end."""
        kind, data = self._keys.next()
        self._cancel.check()
        if kind == "resized":
            self._boxes.resize(self._keys.size())
        elif kind == "ended":
            for each in self._boxes.complaints():
                self._say(f"ERROR: {each}")
            if not self._in_prompt and self._boxes.attached is None:
                self._enter_prompt()
        elif kind == "toggle":
            self._toggle()
        elif kind == "gone":
            return False
        elif self._in_prompt:
            return self._typed(data)
        else:
            self._boxes.type(data)
        return True

    def _toggle(self) -> None:
        if not self._in_prompt:
            self._say("\nSwitched IO")
            self._enter_prompt()
        elif self._boxes.attached is None:
            self._say(_DETACHED)
        else:
            self._say("Switched IO")
            self._leave_prompt()
            self._boxes.type(b"\n")  # for its own prompt

    def _enter_prompt(self) -> None:
        self._in_prompt = True
        self._boxes.mute()
        self._prompt.begin()

    def _leave_prompt(self) -> None:
        self._in_prompt = False
        self._boxes.show(self._keys.write)

    def _typed(self, data: bytes) -> bool:
        for line in self._prompt.take(data):
            if line is None or line.split() == ["exit"]:
                self._say("")
                return False
            try:
                self._carry_out(shlex.split(line))
            except (InputError, ValueError) as error:
                self._say(f"monitor: {error}")
            if self._in_prompt:
                self._prompt.begin()
        return True

    def _carry_out(self, words: Sequence[str]) -> None:
        if not words:
            return
        command = self._commands.get(words[0])
        if command is None:
            self._say(f'monitor: unknown command: "{" ".join(words)}"')
            self._help(())
            return
        command(words[1:])

    # --- commands ---

    def _start(self, invoke: Invoke, *, fresh: bool, initial: bool = False) -> str:
        self._in_prompt = False
        return self._boxes.start(
            invoke, self._keys.size(), self._keys.write, fresh=fresh, initial=initial
        )

    def _exec(self, words: Sequence[str]) -> None:
        if not words:
            raise InputError("command must be passed")
        number = self._start(self._invoke.running(words), fresh=False)
        self._say(f'Process "{number}" started. Press Ctrl-a-c to switch to that process.')

    def _rollback(self, words: Sequence[str]) -> None:
        initial = list(words[:1]) == ["--init"]
        argv = words[1:] if initial else words
        invoke = self._invoke.running(argv) if argv else self._invoke
        if initial and not self._boxes.is_failed:
            raise InputError("only a step that failed has an initial state")
        self._say(_RESTARTED.format(self._start(invoke, fresh=True, initial=initial)))

    def _attach(self, words: Sequence[str]) -> None:
        if not words:
            raise InputError("PID of process must be passed")
        self._boxes.attach(words[0])
        self._say(
            f'Attached to process "{words[0]}". Press Ctrl-a-c to switch to the new container'
        )
        self._leave_prompt()

    def _ps(self, _words: Sequence[str]) -> None:
        self._say("PID\tCURRENT_SESSION\tCOMMAND")
        for number, is_attached, argv in self._boxes.listed():
            self._say(f"{number:<20}\t{str(is_attached).lower()}\t[{' '.join(argv)}]")

    def _help(self, words: Sequence[str]) -> None:
        if words and words[0] in _HELP:
            self._say(f"{_HELP[words[0]][0]}\n\nUsage:\n  {_HELP[words[0]][1]}")
            return
        self._say("Available commands are:")
        for name, (text, _) in _HELP.items():
            self._say(f"  {name:<10}{text}")

    def _say(self, text: str) -> None:
        self._keys.show(text.encode(errors="replace") + b"\n")
