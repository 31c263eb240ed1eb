"""Carries out single commands through the runner, the records and the locks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Generic, TypeVar

from polyarch.digest import Digest
from polyarch.errors import Cancelled, InternalError, PolyarchError
from polyarch.graph.vertex import Vertex
from polyarch.progress import CancelToken
from polyarch.solver.announce import Announcer
from polyarch.solver.event import (
    Command,
    ContentRead,
    Event,
    Failed,
    Fetch,
    Fetched,
    Found,
    Identified,
    Identify,
    Load,
    Loaded,
    Lost,
    Missing,
    Query,
    Ran,
    ReadContent,
    Run,
)
from polyarch.solver.key import CacheKey
from polyarch.solver.records import Record, Records
from polyarch.solver.runner import Locks, Runner

__all__ = ["Hands"]

R = TypeVar("R")


class Hands(Generic[R]):
    """Carries out single commands of one solve, in any thread.

    `results` holds what is in hand, by vertex; `used` the records that were found. `on_ran` is called
    as soon as a step was run and recorded, `on_start` just before it runs.
    """

    def __init__(
        self,
        *,
        runner: Runner[R],
        records: Records,
        locks: Locks,
        announcer: Announcer,
        cancel: CancelToken,
        on_ran: Callable[[Vertex, R], None] | None,
        on_start: Callable[[Vertex], None] | None = None,
    ) -> None:
        self._runner = runner
        self._records = records
        self._locks = locks
        self._announcer = announcer
        self._cancel = cancel
        self._on_ran = on_ran
        self._on_start = on_start
        self.results: dict[Digest, R] = {}
        self.used: dict[CacheKey, Record] = {}

    def carry_out(self, command: Command) -> Event | Failed:
        """Return the answer to `command`; whatever goes wrong becomes Failed."""
        try:
            return self._carry_out(command)
        except PolyarchError as error:
            if error.place is None and not isinstance(error, Cancelled):
                error.place = command.vertex.location
            return Failed(vertex=command.vertex, error=error)
        except Exception as error:  # noqa: BLE001  (the end of a thread: nothing may get lost)
            wrapped = InternalError(
                f"{command.vertex.name}: {type(error).__name__}: {error}",
                hint="please report this with the Dockerfile",
            )
            wrapped.__cause__ = error
            return Failed(vertex=command.vertex, error=wrapped)

    def _carry_out(self, command: Command) -> Event:
        match command:
            case Identify(vertex=vertex):
                identity = self._runner.source_identity(vertex)
                return Identified(vertex=vertex, identity=identity)
            case Query():
                return self._query(command)
            case ReadContent():
                return self._read_content(command)
            case Load():
                return self._load(command)
            case Run():
                return self._run(command)
            case Fetch(vertex=vertex):
                self._announcer.started(vertex)
                self.results[vertex.digest] = self._runner.run(vertex, (), self._cancel)
                self._announcer.ran(vertex)
                return Fetched(vertex=vertex)

    def _query(self, command: Query) -> Event:
        record = self._find(command.vertex, command.keys)
        if record is None:
            return Missing(vertex=command.vertex)
        return Found(vertex=command.vertex, record=record)

    def _find(self, vertex: Vertex, keys: tuple[CacheKey, ...]) -> Record | None:
        *others, asked = keys
        record = self._records.find(asked)
        if record is not None:
            self.used[asked] = record
            if others:
                self._records.save(others, record)
            self._announcer.found(vertex)
        return record

    def _read_content(self, command: ReadContent) -> Event:
        vertex, index = command.vertex, command.index
        self._announcer.started(vertex)
        source = self.results[vertex.inputs[index].digest]
        digest = self._runner.content_digest(vertex, index, source, self._cancel)
        return ContentRead(vertex=vertex, index=index, digest=digest)

    def _load(self, command: Load) -> Event:
        vertex = command.vertex
        result = self._runner.load(vertex, command.stored)
        if result is None:
            if command.record is not None:
                self._records.forget(command.stored)
            return Lost(vertex=vertex)
        self.results[vertex.digest] = result
        if command.record is None:
            self._announcer.found(vertex)
        return Loaded(vertex=vertex)

    def _run(self, command: Run) -> Event:
        vertex, keys = command.vertex, command.keys
        if not keys:
            return self._run_now(command)
        with self._locked(vertex, keys[-1]):
            record = self._find(vertex, keys) if command.recheck else None
            if record is not None:
                return Found(vertex=vertex, record=record)
            return self._run_now(command)

    @contextmanager
    def _locked(self, vertex: Vertex, name: str) -> Iterator[None]:
        with self._locks.exclusive(name, wait=False) as is_held:
            if is_held:
                yield
                return
        self._announcer.waits(vertex)
        with self._locks.exclusive(name, check=self._cancel.check):
            self._announcer.waited(vertex)
            yield

    def _run_now(self, command: Run) -> Event:
        vertex, runner = command.vertex, self._runner
        self._announcer.started(vertex)
        if self._on_start is not None:
            self._on_start(vertex)
        inputs = [self.results[source.digest] for source in vertex.inputs]
        result = runner.run(vertex, inputs, self._cancel)
        identity = runner.identity(vertex, result)
        if command.keys:
            record = self._records.make(
                identity=identity,
                result=runner.store(vertex, result),
                step=vertex.name,
                ingredients=command.ingredients,
            )
            self._records.save(command.keys, record)
        self.results[vertex.digest] = result
        self._announcer.ran(vertex)
        if self._on_ran is not None:
            self._on_ran(vertex, result)
        return Ran(vertex=vertex, identity=identity)
