"""Containers that are none, for what runs programs in them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from polyarch.debugger.hands import Files, Shell
from polyarch.debugger.node import Input, Program
from polyarch.debugger.tour import Stop
from polyarch.errors import NotFound
from polyarch.progress import CancelToken
from polyarch.request.talk import Talk

__all__ = ["Container", "Hands"]


class Container:
    """Runs programs that print their words and end when they are told to."""

    program = Program(argv=("own",), env=("A=1",), cwd="/w", user="me")

    def __init__(self) -> None:
        self.ran: list[tuple[Program, bool]] = []

    def run(
        self,
        program: Program,
        talk: Talk,
        on_output: Callable[[int, bytes], None],
        cancel: CancelToken,
        *,
        is_first: bool,
    ) -> int:
        del talk
        self.ran.append((program, is_first))
        if program.argv == ("missing",):
            raise NotFound("no such program")
        on_output(1, " ".join(program.argv).encode())
        if is_first:
            ended = threading.Event()
            cancel.on_cancel(ended.set)
            ended.wait()
        return 0


class Hands:
    """Opens containers, and notes how."""

    def __init__(self) -> None:
        self.opened: list[bool] = []
        self.container = Container()

    def build(self, inputs: Sequence[Input]) -> None:
        raise NotImplementedError

    def files(self, wanted: Input) -> Files:
        raise NotImplementedError

    def failed(self) -> str:
        return ""

    def left(self) -> Mapping[str, Files]:
        return {}

    @contextmanager
    def shell(self, stop: Stop, cancel: CancelToken, *, is_failed: bool = False) -> Iterator[Shell]:
        del stop, cancel
        self.opened.append(is_failed)
        yield self.container
