"""Debugging what a daemon builds: its frontend's graph is walked through by the build's gateway, before it is returned as the result."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TypeVar

from grpclib.exceptions import GRPCError

from polyarch.buildkit.api import told_trouble
from polyarch.buildkit.gateway import Gateway, Ref, Solved
from polyarch.buildkit.messages import Stat
from polyarch.buildkit.work import Asked, Steer
from polyarch.debugger.hands import Debugger, Files, Goal, Shell
from polyarch.debugger.llb import Graph, read_graph
from polyarch.debugger.node import Input
from polyarch.debugger.own import DebuggedCompany, path_of
from polyarch.debugger.tour import Stop
from polyarch.errors import InputError, PolyarchError
from polyarch.pipeline.nodes import Beside, NoGraph
from polyarch.progress import CANCELED, CancelToken, Event, Sink, StepEvent
from polyarch.record import frozen
from polyarch.request.values import BuildRequest

__all__ = ["Watched", "beside_of"]

_T = TypeVar("_T")
_EVENTS = 5.0
"""Seconds within which the event of a step comes that has failed."""


class Watched:
    """A sink before another one, which notes what fails."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._changed = threading.Condition()
        self._failed = ""

    def __call__(self, event: Event) -> None:
        """Take an event."""
        if isinstance(event, StepEvent) and event.error and event.error != CANCELED:
            with self._changed:
                self._failed = self._failed or event.step
                self._changed.notify_all()
        self._sink(event)

    def failed(self) -> str:
        """Return the step that failed; its event may come after the answer that tells of it."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._failed), _EVENTS)
            return self._failed


def beside_of(debugger: Debugger, watched: Watched) -> Beside:
    """Return what has a debugger walk through what builds of a builder's nodes make."""

    def around(request: BuildRequest, address: str, steer: Steer) -> Steer:
        async def steered(gateway: Gateway, asked: Asked) -> Solved:
            solved = await steer(gateway, asked)
            goals = _goals(request, solved, _Talk(gateway, address), watched)
            try:
                await asyncio.to_thread(debugger.debug, goals)
            except PolyarchError as error:
                if isinstance(error.__cause__, GRPCError):
                    raise error.__cause__ from None
                raise
            return solved

        return steered

    def company(request: BuildRequest) -> DebuggedCompany:
        return DebuggedCompany(debugger, request)

    return Beside(company=company, around=around)


def _goals(request: BuildRequest, solved: Solved, talk: _Talk, watched: Watched) -> Sequence[Goal]:
    """Return the results that a frontend has promised. Raises NoGraph if it doesn't say how they are made."""
    goals = []
    for name, ref in solved.refs.items():
        graph = read_graph(ref.definition)
        node = graph.wanted
        if node is None:
            continue
        if not graph.is_placed:
            raise NoGraph("the frontend tells of no graph")
        sources = [each.source for each in graph.definition.locations.values()]
        paths = {each.name: path_of(each.name, request) for each in sources}
        goals.append(
            Goal(
                name=f"{request.target or 'default'}{f' ({name})' if name else ''}",
                node=node,
                hands=_DaemonHands(talk=talk, graph=graph, whole=ref, watched=watched),
                paths=paths,
                texts={paths[each.name]: each.text for each in sources},
            )
        )
    return goals


class _Talk:
    """Calls of a gateway by threads."""

    def __init__(self, gateway: Gateway, address: str) -> None:
        self.gateway = gateway
        self._address = address
        self._loop = asyncio.get_running_loop()

    def __call__(self, call: Callable[[], Awaitable[_T]]) -> _T:
        """Wait for a call. Raises what `told_trouble` makes of its errors."""

        async def called() -> _T:
            return await call()

        with told_trouble(self._address):
            return asyncio.run_coroutine_threadsafe(called(), self._loop).result()


@frozen
class _DaemonHands:
    """One result of a daemon's; see Hands. `whole` is what the frontend has returned for it."""

    talk: _Talk
    graph: Graph
    whole: Ref
    watched: Watched

    def build(self, inputs: Sequence[Input]) -> None:
        """See Hands."""

        async def all_of_them() -> None:
            refs = [await self._ref(each) for each in inputs]
            evaluate = self.talk.gateway.evaluate
            tasks = [asyncio.ensure_future(evaluate(each)) for each in refs if each.id]
            await asyncio.gather(*tasks)

        self.talk(all_of_them)

    async def _ref(self, wanted: Input) -> Ref:
        if self.graph.is_wanted(wanted):
            return self.whole
        return await self.talk.gateway.build(self.graph.part(wanted))

    def files(self, wanted: Input) -> Files:
        """See Hands."""
        return _DaemonFiles(talk=self.talk, ref=lambda: self._ref(wanted))

    def failed(self) -> str:
        """See Hands."""
        return self.watched.failed()

    def left(self) -> Mapping[str, Files]:
        """See Hands: daemons tell of it in a form that isn't read here."""
        return {}

    @contextmanager
    def shell(self, stop: Stop, cancel: CancelToken, *, is_failed: bool = False) -> Iterator[Shell]:
        """See Hands."""
        del stop, cancel, is_failed
        raise InputError("terminals on builders of other machines aren't there yet")
        yield


@frozen
class _DaemonFiles:
    """The files of a result of a daemon's; see Files."""

    talk: _Talk
    ref: Callable[[], Awaitable[Ref]]

    def list(self, path: str) -> Sequence[Stat]:
        """See Files."""

        async def listed() -> Sequence[Stat]:
            return await self.talk.gateway.list(await self.ref(), path)

        return self.talk(listed)

    def read(self, path: str, offset: int, size: int) -> bytes:
        """See Files."""

        async def read() -> bytes:
            return await self.talk.gateway.read(await self.ref(), path, offset, size)

        return self.talk(read)
