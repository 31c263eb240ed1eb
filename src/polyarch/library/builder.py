"""An engine for the time of a `with` block, and requests to it; `polyarch.api` is what programs see."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import Self

from polyarch.errors import InputError
from polyarch.library.channel import Channel, Message, channel_pair
from polyarch.library.child import EngineProcess
from polyarch.library.codec import encode
from polyarch.library.messages import Requests, read_answer, read_baked, read_event
from polyarch.library.steptimes import StepTimes
from polyarch.library.surroundings import settle
from polyarch.library.written import written_contexts
from polyarch.progress import CancelToken, Event, Sink, ignore_events
from polyarch.record import replace
from polyarch.request.baked import BakeResult
from polyarch.request.result import BuildResult
from polyarch.request.values import BuildRequest

__all__ = ["EngineBuilder"]


class EngineBuilder:
    """This machine's builder, in a process of its own that lives as long as the `with` block.

    Any number of builds may run at a time, each from a thread of its own. Leaving the block cancels
    those that still run. `root` is the directory of the store; else it is where the command line has it.
    """

    def __init__(
        self,
        *,
        root: str | os.PathLike[str] | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._variables = environ
        self._root = os.path.abspath(root) if root is not None else ""
        self._engine: EngineProcess | None = None
        self._process = 0

    def __enter__(self) -> Self:
        """Start the engine. Raises MachineError if this machine doesn't let it start."""
        if self._engine is not None:
            raise InputError("the builder is open already", hint="make one Builder for each block")
        self._engine = EngineProcess(self._environ())
        self._process = os.getpid()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """End the engine, and what still runs in it; returns when nothing is left."""
        engine, self._engine = self._engine, None
        if engine is not None and self._process == os.getpid():
            engine.close()

    @property
    def pid(self) -> int:
        """The engine's process id, 0 outside of the block."""
        return self._engine.pid if self._engine is not None else 0

    def carry_out(
        self,
        request: BuildRequest,
        *,
        sink: Sink = ignore_events,
        cancel: CancelToken | None = None,
    ) -> BuildResult:
        """Carry out a request, and return when all of it is done.

        `sink` is called with each event, in order, by the calling thread; the build waits while it
        takes its time. An exception that it raises, or a Ctrl-C, cancels the build, and goes on when that has
        ended. Raises what the errors module lists: Cancelled after `cancel`, StepFailed and so on;
        MachineError if the engine dies.
        """
        engine = self._opened()
        if cancel is not None:
            cancel.check()
        times = StepTimes(sink)
        with written_contexts(request) as written:
            settled = settle(written, os.getcwd(), os.environ)
            ours, theirs = channel_pair()
            with ours, _ended_by(cancel, ours):
                engine.hand_over(theirs)
                asked = {"request": encode(settled)}
                answer = _follow(engine, ours, asked, lambda _name, event: times(event))
                return times.added_to(read_answer(answer))

    def carry_out_all(
        self,
        requests: Mapping[str, BuildRequest],
        *,
        sink: Callable[[str], Sink],
        cancel: CancelToken | None = None,
        keeps_going: bool = False,
    ) -> BakeResult:
        """Carry out requests as one graph, and return when all are done, or what was left of them was ended.

        `sink` gives, by name, what takes the events of each. Otherwise as `carry_out`; what single requests fail by is
        in the result.
        """
        engine = self._opened()
        if cancel is not None:
            cancel.check()
        times = {name: StepTimes(sink(name)) for name in requests}
        with ExitStack() as stack:
            written = {n: stack.enter_context(written_contexts(r)) for n, r in requests.items()}
            settled = {n: settle(each, os.getcwd(), os.environ) for n, each in written.items()}
            ours, theirs = channel_pair()
            stack.enter_context(ours)
            stack.enter_context(_ended_by(cancel, ours))
            engine.hand_over(theirs)
            asked = {"bake": encode(Requests(by_target=settled)), "keeps_going": keeps_going}
            answer = _follow(engine, ours, asked, lambda name, event: times[name](event))
        baked = read_baked(answer)
        results = {name: times[name].added_to(each) for name, each in baked.results.items()}
        return replace(baked, results=results)

    def _opened(self) -> EngineProcess:
        if self._engine is None:
            raise InputError(
                "the builder isn't open", hint="with polyarch.Builder() as builder: ..."
            )
        if self._process != os.getpid():
            raise InputError(
                "the builder belongs to another process, of which this one is a fork",
                hint="open a Builder in each process",
            )
        return self._engine

    def _environ(self) -> Mapping[str, str]:
        return {**self._variables, "POLYARCH_ROOT": self._root} if self._root else self._variables


@contextlib.contextmanager
def _ended_by(cancel: CancelToken | None, channel: Channel) -> Iterator[None]:
    """Have `cancel` end our half of the channel for as long as the block lasts."""
    if cancel is None:
        yield
        return
    forget = cancel.on_cancel(channel.end)
    try:
        yield
    finally:
        forget()


def _follow(
    engine: EngineProcess,
    channel: Channel,
    asked: Message,
    tell: Callable[[str, Event], None],
) -> Message:
    """Send what is asked for and pass events on, with the name of their target; whatever happens, stay until all has ended.

    Returns the answer.
    """
    try:
        with contextlib.suppress(OSError):
            channel.send(asked)
        while (message := channel.receive()) is not None:
            event = read_event(message)
            if event is None:
                return message
            tell(str(message.get("target", "")), event)
    finally:
        channel.end()
        channel.drain()  # an exception may have left half a message
    raise engine.gone()
