"""Debugging what a daemon builds: its frontend's graph is walked through by the build's gateway, before it is returned as the result."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import TypeVar

from grpclib.exceptions import GRPCError

from polyarch.buildkit.api import told_trouble
from polyarch.buildkit.containers import Mount, RemoteContainer, RemoteProgram
from polyarch.buildkit.gateway import Gateway, Ref, Solved
from polyarch.buildkit.messages import Stat
from polyarch.buildkit.work import Asked, Steer
from polyarch.debugger.hands import Debugger, Files, Goal, Shell
from polyarch.debugger.llb import Graph, read_graph
from polyarch.debugger.node import Input, Program
from polyarch.debugger.own import DebuggedCompany, path_of
from polyarch.debugger.tour import Stop
from polyarch.errors import InputError, IntegrityError, PolyarchError
from polyarch.history.failure import SOLVE, VERTEX, details
from polyarch.oci.config import ImageConfig, parse_config
from polyarch.pipeline.nodes import Beside, NoGraph
from polyarch.platforms import host
from polyarch.progress import CANCELED, CancelToken, Event, Sink, StepEvent
from polyarch.record import field, frozen, mutable
from polyarch.request.talk import Talk
from polyarch.request.values import BuildRequest
from polyarch.serve.messages import CONFIG
from polyarch.wire import field as wire_field

__all__ = ["Watched", "beside_of"]

_T = TypeVar("_T")
_ROOT = wire_field(3, "/")
_EVENTS = 5.0
"""Seconds within which the event of a step comes that has failed."""


class Watched:
    """A sink before another one, which notes what fails."""

    def __init__(self, sink: Sink) -> None:
        self._sink = sink
        self._changed = threading.Condition()
        self._failed: StepEvent | None = None

    def __call__(self, event: Event) -> None:
        """Take an event."""
        if isinstance(event, StepEvent) and event.error and event.error != CANCELED:
            with self._changed:
                self._failed = self._failed or event
                self._changed.notify_all()
        self._sink(event)

    def failed(self) -> StepEvent | None:
        """Return what was told of the step that failed; it may come after the answer that says so."""
        with self._changed:
            self._changed.wait_for(lambda: self._failed is not None, _EVENTS)
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
                hands=_DaemonHands(
                    talk=talk,
                    graph=graph,
                    whole=ref,
                    watched=watched,
                    config=_config(solved, name),
                ),
                paths=paths,
                texts={paths[each.name]: each.text for each in sources},
            )
        )
    return goals


def _config(solved: Solved, platform: str) -> ImageConfig:
    found = solved.metadata.get(f"{CONFIG}/{platform}" if platform else CONFIG, b"")
    return parse_config(found) if found else ImageConfig(platform=host())


@mutable
class _Failure:
    """What a daemon tells of a step that failed: which it was, and refs to what it has left, by its mounts."""

    digest: str = ""
    left: tuple[str, ...] = ()

    def read(self, error: BaseException | None) -> None:
        """Read the details of an error."""
        if not isinstance(error, GRPCError) or not isinstance(error.details, bytes):
            return
        # What can't be read tells nothing: the step failed all the same.
        with suppress(IntegrityError, ValueError):
            for kind, detail in details(error.details, VERTEX, SOLVE):
                if kind == VERTEX:
                    self.digest = detail.text("digest")
                else:
                    self.left = detail.texts("mountIDs")


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
    config: ImageConfig
    failure: _Failure = field(default_factory=_Failure)

    def build(self, inputs: Sequence[Input]) -> None:
        """See Hands."""

        async def all_of_them() -> None:
            refs = [await self._ref(each) for each in inputs]
            evaluate = self.talk.gateway.evaluate
            tasks = [asyncio.ensure_future(evaluate(each)) for each in refs if each.id]
            await asyncio.gather(*tasks)

        try:
            self.talk(all_of_them)
        except PolyarchError as error:
            self.failure.read(error.__cause__)
            raise

    async def _ref(self, wanted: Input) -> Ref:
        if self.graph.is_wanted(wanted):
            return self.whole
        return await self.talk.gateway.build(self.graph.part(wanted))

    def files(self, wanted: Input) -> Files:
        """See Hands."""
        return _DaemonFiles(talk=self.talk, ref=lambda: self._ref(wanted))

    def failed(self) -> str:
        """See Hands."""
        nodes = self.graph.nodes
        if self.failure.digest in nodes:
            return self.failure.digest
        event = self.watched.failed()
        if event is None or event.step in nodes:
            return event.step if event is not None else ""
        # Daemons of ours know steps by digests of their own.
        named = (key for key, each in nodes.items() if each.name == event.name)
        return next(named, "")

    def left(self) -> Mapping[str, Files]:
        """See Hands: daemons tell of it in a form that isn't read here."""
        return {}

    @contextmanager
    def shell(self, stop: Stop, cancel: CancelToken, *, is_failed: bool = False) -> Iterator[Shell]:
        """See Hands."""
        del cancel
        if stop.root is None:
            raise InputError("the step begins with an empty root, in which nothing can run")
        container = self.talk.gateway.container()

        async def opened() -> None:
            mounts = await self._mounts(stop, is_failed=is_failed)
            await container.open(mounts, stop.node.platform)

        self.talk(opened)
        try:
            yield _DaemonShell(talk=self.talk, container=container, program=self._program(stop))
        finally:
            self.talk(container.release)

    async def _mounts(self, stop: Stop, *, is_failed: bool) -> Sequence[Mount]:
        """Return what a container has: the step's mounts, as it was given or has left them, or only a root."""
        assert stop.root is not None
        if stop.is_after or stop.node.program is None:
            return [Mount(message=_ROOT, ref=(await self._ref(stop.root)).id)]
        mounts = self.graph.mounts(stop.node)
        if is_failed and len(self.failure.left) == len(mounts):
            pairs = zip(mounts, self.failure.left, strict=True)
            return [Mount(message=message, ref=left) for (message, _), left in pairs]
        return [
            Mount(message=message, ref=(await self._ref(given)).id if given is not None else "")
            for message, given in mounts
        ]

    def _program(self, stop: Stop) -> Program:
        if stop.node.program is not None and not stop.is_after:
            return stop.node.program
        run = self.config.run
        return Program(
            argv=(*run.entrypoint, *run.cmd),
            env=run.env,
            cwd=run.working_dir or "/",
            user=run.user,
        )


@frozen
class _DaemonShell:
    """A container of a daemon's; see Shell."""

    talk: _Talk
    container: RemoteContainer
    program: Program

    def run(
        self,
        program: Program,
        talk: Talk,
        on_output: Callable[[int, bytes], None],
        cancel: CancelToken,
        *,
        is_first: bool,
    ) -> int:
        """See Shell. The daemon takes for the first one what it is asked for first."""
        del is_first
        cancel.check()
        wanted = RemoteProgram(
            argv=program.argv, env=program.env, cwd=program.cwd or "/", user=program.user
        )
        return self.talk(lambda: self.container.run(wanted, talk, on_output, cancel))


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
