"""What a debugger needs of whoever builds: this machine's engine, or a daemon."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from polyarch.buildkit.messages import Stat
from polyarch.debugger.node import Input, Node, Program
from polyarch.debugger.tour import Stop
from polyarch.progress import CancelToken
from polyarch.record import frozen
from polyarch.request.talk import Talk

__all__ = ["Debugger", "Files", "Goal", "Hands", "Shell"]


class Files(Protocol):
    """The files of a result."""

    def list(self, path: str) -> Sequence[Stat]:
        """Return the entries of a directory, by name. Raises what building it raises, and NotFound."""

    def read(self, path: str, offset: int, size: int) -> bytes:
        """Return a part of a file, `size` bytes at most, or (0) all. Raises NotFound."""


class Shell(Protocol):
    """A container in which programs are run, each by a thread of its own."""

    @property
    def program(self) -> Program:
        """What it would run by itself: the step's own program, or that of the image, with what surrounds them."""

    def run(
        self,
        program: Program,
        talk: Talk,
        on_output: Callable[[int, bytes], None],
        cancel: CancelToken,
        *,
        is_first: bool,
    ) -> int:
        """Run a program to its end, and return its status. All others end with the first one."""


class Hands(Protocol):
    """Builds results, and opens them. All is called from threads, and waits."""

    def build(self, inputs: Sequence[Input]) -> None:
        """Have results built. Raises what the first step to fail raises."""

    def files(self, wanted: Input) -> Files:
        """Return the files of a result, which is built when they are looked at."""

    def failed(self) -> str:
        """Return the key of the step that failed, "" if none is known to have."""

    def left(self) -> Mapping[str, Files]:
        """Return what the step that failed has left, by where it was mounted; {} if that isn't known."""

    def shell(
        self, stop: Stop, cancel: CancelToken, *, is_failed: bool = False
    ) -> AbstractContextManager[Shell]:
        """Open a container over a stop's root, before a step that runs a program with what that has mounted.

        With `is_failed` its files are as the step has left them. Raises InputError where there is nothing to run in.
        """


@frozen
class Goal:
    """A result that a build is for: its name, the last step that leads to it, and who builds it.

    `paths` are where texts lie, by their names, and `texts` what is in them by their paths.
    """

    name: str
    node: Node
    hands: Hands
    paths: Mapping[str, str]
    texts: Mapping[str, str]


class Debugger(Protocol):
    """What goes along with a build."""

    def attend(self, cancel: CancelToken) -> None:
        """Begin, before anything is read; cancelling is how the debugger ends the build."""

    def debug(self, goals: Sequence[Goal]) -> None:
        """Walk through the results of the build, or of a part of it, before they are exported. What it raises ends the build."""
