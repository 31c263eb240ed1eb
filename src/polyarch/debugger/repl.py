"""What is typed into an editor's debug console: `exec` opens a terminal in the container of the step that is stopped at."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from polyarch.debugger.hands import Shell
from polyarch.debugger.link import Link
from polyarch.debugger.terminals import Lent, Terminals
from polyarch.debugger.walker import Pause, Walker
from polyarch.errors import Cancelled, InputError, PolyarchError
from polyarch.progress import CancelToken
from polyarch.record import replace
from polyarch.threads import caught

__all__ = ["Repl"]

_SHELL = "/bin/sh"
_HELP = "exec [PROGRAM [ARGUMENT...]]    open a terminal in the container of this step, with a shell or a program"


class Repl:
    """The console of one editor. `has_terminals` says whether the editor opens terminals."""

    def __init__(self, link: Link, attach: Sequence[str]) -> None:
        self.has_terminals = False
        self._link = link
        self._attach = attach
        self._terminals = Terminals()

    def evaluate(self, arguments: Mapping[str, Any], walkers: Sequence[Walker]) -> str:
        """Carry out a line for the first of some walkers that have stopped; returns what to show. Raises InputError."""
        kind = arguments.get("context", "repl")
        if kind != "repl":
            raise InputError(f"unsupported evaluate context: {kind}")
        words = _words(str(arguments.get("expression", "")))
        if not words:
            return ""
        if words[0] == "help":
            return _HELP
        if words[0] != "exec":
            raise InputError(f'unknown command "{words[0]}"; help says which there are')
        return self._exec(words[1:], walkers)

    def _exec(self, argv: Sequence[str], walkers: Sequence[Walker]) -> str:
        if not self.has_terminals:
            raise InputError("cannot exec without runInTerminal client capability")
        pause = walkers[0].pause if walkers else None
        if pause is None or pause.stop is None:
            raise InputError("cannot exec while nothing has stopped before a step")
        opening = _opening(walkers[0], pause)
        address = self._terminals.listen(
            lambda lent: _run(lent, opening, tuple(argv) or (_SHELL,), pause), pause
        )
        arguments = {
            "kind": "integrated",
            "title": "polyarch",
            "cwd": "",
            "args": [*self._attach, address],
        }
        try:
            self._link.ask("runInTerminal", arguments)
        except Cancelled as error:
            raise InputError(str(error)) from error
        return f"Started process attached to {address}."


def _words(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as error:
        raise InputError(f"cannot parse expression: {error}") from error


def _opening(walker: Walker, pause: Pause) -> Callable[[Lent, tuple[str, ...], CancelToken], None]:
    """Return what runs a program for a terminal in the container of a stop. Raises InputError where there is none."""
    stop, hands = pause.stop, walker.goal.hands
    assert stop is not None
    is_failed = pause.error is not None
    if stop.root is None:
        raise InputError("this step begins with an empty root, in which nothing can run")
    place = stop.node.location
    line = place.start if place is not None else 0

    def run(lent: Lent, argv: tuple[str, ...], cancel: CancelToken) -> None:
        with hands.shell(stop, cancel, is_failed=is_failed) as shell:
            lent.say(f"Running {' '.join(argv)} in build container from line {line}.")
            lent.say("Changes to the container will be reset after the next step is executed.")
            _program(shell, lent, argv, cancel)

    return run


def _program(shell: Shell, lent: Lent, argv: tuple[str, ...], cancel: CancelToken) -> None:
    program = replace(shell.program, argv=argv)
    shell.run(program, lent.talk, lent.write, cancel, is_first=True)


def _run(
    lent: Lent,
    opening: Callable[[Lent, tuple[str, ...], CancelToken], None],
    argv: tuple[str, ...],
    pause: Pause,
) -> None:
    cancel = CancelToken()
    pause.ended.on_cancel(cancel.cancel)
    lent.on_gone(cancel.cancel)
    error = caught(lambda: opening(lent, argv, cancel))
    if isinstance(error, PolyarchError) and not isinstance(error, Cancelled):
        lent.say(f"ERROR: {error}")
    elif error is not None and not isinstance(error, PolyarchError):
        raise error
