"""What a command is, and what it is given: the contract between `cli.app` and the command modules."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TextIO

from polyarch.cli.frame.flags import Completes, Flag, Options, UsageError
from polyarch.record import frozen
from polyarch.text.shown import shown

if TYPE_CHECKING:
    # Loads ctypes, which most commands do without.
    from polyarch.namespaces.userns import EngineNamespaces

__all__ = ["Command", "Context", "WrongCount"]


class WrongCount(UsageError):
    """Too many or too few arguments."""


@frozen
class Context:
    """What a command is called with, beside its own flags.

    `program` is how the user calls us ("docker buildx" as a plugin); `builder` is the value of
    `--builder`, or "" (what the environment says isn't as explicit: see `cli.chosen`). `namespaces` is set for those commands that run in the engine.
    """

    program: str
    environ: Mapping[str, str]
    stdin: TextIO
    stdout: TextIO
    stderr: TextIO
    builder: str = ""
    debug: bool = False
    namespaces: EngineNamespaces | None = None

    @property
    def is_plugin(self) -> bool:
        """Whether docker called us."""
        return self.program.startswith("docker ")

    def print(self, text: str = "") -> None:
        """Print a line on standard output."""
        self.stdout.write(text + "\n")

    @property
    def is_read_as_one(self) -> bool:
        """Whether a program gets standard output and standard error in one, as by `2>&1`."""
        try:
            both = [os.fstat(stream.fileno()) for stream in (self.stdout, self.stderr)]
        except (OSError, ValueError):
            return False
        return os.path.samestat(*both) and not self.stderr.isatty()

    def warn(self, text: str) -> None:
        """Print a line on standard error."""
        self.stderr.write(shown(text) + "\n")


@frozen
class Command:
    """A command: its flags, how many arguments it takes, and the function that carries it out.

    `run` returns the exit status and raises PolyarchError. With `needs_engine` it is called in the
    engine's namespaces, in a process of its own. `mixed` false: the first argument ends the flags.
    """

    usage: str
    """What follows the command's name: "[OPTIONS] NAME"."""
    run: Callable[[Options, Context], int]
    example: str
    flags: tuple[Flag, ...] = ()
    least: int = 0
    most: int | None = 0
    """How many arguments; None for any number."""
    needs_engine: bool = False
    mixed: bool = True
    description: str = ""
    completes: Completes = ""
    """What completion offers as arguments."""

    def check_count(self, path: str, count: int) -> None:
        """Raise UsageError, in docker's words, unless the command takes `count` arguments."""
        if count >= self.least and (self.most is None or count <= self.most):
            return
        raise WrongCount(f"{path.partition(' ')[0]}: '{path}' {self._wanted()}")

    def _wanted(self) -> str:
        plural = (
            "argument" if self.most == 1 or (self.most is None and self.least == 1) else "arguments"
        )
        if self.most == 0:
            return "accepts no arguments"
        if self.most is None:
            return f"requires at least {self.least} {plural}"
        if self.least == self.most:
            return f"requires {self.least} {plural}"
        if self.least == 0:
            return f"requires at most {self.most} {plural}"
        return f"requires at least {self.least} and at most {self.most} arguments"
