"""Carries out single commands through the runner, the records and the locks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Generic, TypeVar

from polyarch.digest import Digest
from polyarch.errors import Cancelled, InternalError, PolyarchError
from polyarch.graph.vertex import Vertex
from polyarch.progress import CancelToken
from polyarch.solver.announce import Announcer
from polyarch.solver.elsewhere import Elsewhere
from polyarch.solver.event import (
    Command,
    Compare,
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
from polyarch.solver.key import CacheKey, candidate_key
from polyarch.solver.records import Record, Records
from polyarch.solver.runner import Locks, Runner

__all__ = ["Hands"]

R = TypeVar("R")


class Hands(Generic[R]):
    """Carries out single commands of one solve, in any thread.

    `results` holds what is in hand, by vertex; `used` the records that were found. `on_start` is called
    just before a step runs; `elsewhere` has results of other machines.
    """

    def __init__(
        self,
        *,
        runner: Runner[R],
        records: Records,
        locks: Locks,
        announcer: Announcer,
        cancel: CancelToken,
        on_start: Callable[[Vertex], None] | None = None,
        elsewhere: Elsewhere | None = None,
    ) -> None:
        self._runner = runner
        self._records = records
        self._locks = locks
        self._announcer = announcer
        self._cancel = cancel
        self._on_start = on_start
        self._elsewhere = elsewhere
        self.results: dict[Digest, R] = {}
        self.used: dict[CacheKey, Record] = {}
        self._unlike: set[tuple[Digest, CacheKey]] = set()

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
                if self._elsewhere is not None:
                    self._elsewhere.identified(vertex, identity)
                return Identified(vertex=vertex, identity=identity)
            case Query() | Compare():
                return self._look_up(command)
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

    def _look_up(self, command: Query | Compare) -> Event:
        if isinstance(command, Query):
            record = self._find(command.vertex, command.keys) or self._find_elsewhere(command)
        else:
            record = self._find_made_of(command) or self._find_made_elsewhere(command)
        if record is None:
            return Missing(vertex=command.vertex)
        return Found(vertex=command.vertex, record=record)

    def _find(self, vertex: Vertex, keys: Sequence[CacheKey]) -> Record | None:
        *others, asked = keys
        record = self._records.find(asked)
        if record is not None:
            self._use(vertex, asked, record, others)
        return record

    def _find_elsewhere(self, command: Query) -> Record | None:
        if self._elsewhere is None:
            return None
        record = self._elsewhere.find(command.vertex, command.ingredients)
        if record is not None:
            self._take(command.vertex, command.keys, record)
        return record

    def _find_made_elsewhere(self, command: Compare) -> Record | None:
        if self._elsewhere is None:
            return None
        found = self._elsewhere.find_alike(command.vertex, command.ingredients)
        *others, alike = command.keys
        candidates = {candidate_key(alike, identity): each for identity, each in found.items()}
        chosen = self._choose(command, candidates)
        if chosen is None:
            return None
        key, record = chosen
        self._take(command.vertex, (*others, key), record)
        return record

    def _take(self, vertex: Vertex, keys: Sequence[CacheKey], record: Record) -> None:
        """Write a record of others under our own keys."""
        self._records.save(keys, record)
        self._use(vertex, keys[-1], record, ())

    def _find_made_of(self, command: Compare | Run) -> Record | None:
        """Find a record whose result was made of the very bytes that are read now.

        None is compared twice: a second look under the lock asks for what others have made meanwhile.
        """
        *others, alike = command.keys
        chosen = self._choose(command, self._records.find_alike(alike))
        if chosen is None:
            return None
        self._use(command.vertex, *chosen, others)
        return chosen[1]

    def _choose(
        self, command: Compare | Run, candidates: Mapping[CacheKey, Record]
    ) -> tuple[CacheKey, Record] | None:
        vertex = command.vertex
        inputs = {
            index: self.results[vertex.inputs[index].digest]
            for index, part in enumerate(command.ingredients.inputs)
            if not part.is_whole
        }
        for key, record in candidates.items():
            if (vertex.digest, key) in self._unlike:
                continue
            result = self._runner.load(vertex, record.result, self._cancel)
            if result is None:
                self._forget(vertex, record)
            elif self._runner.is_made_of(vertex, result, inputs, self._cancel):
                return key, record
            self._unlike.add((vertex.digest, key))
        return None

    def _forget(self, vertex: Vertex, record: Record) -> None:
        self._records.forget(record.result)
        if self._elsewhere is not None:
            self._elsewhere.lost(vertex, record)

    def _use(
        self, vertex: Vertex, key: CacheKey, record: Record, others: Sequence[CacheKey]
    ) -> None:
        """Note that `record` was found under `key`, and write it under the others."""
        self.used[key] = record
        if others:
            self._records.save(others, record)
        if self._elsewhere is not None:
            self._elsewhere.found(vertex, record)
        self._announcer.found(vertex)

    def _read_content(self, command: ReadContent) -> Event:
        vertex, index = command.vertex, command.index
        self._announcer.started(vertex)
        source = self.results[vertex.inputs[index].digest]
        content = self._runner.content(vertex, index, source, self._cancel)
        return ContentRead(vertex=vertex, index=index, content=content)

    def _load(self, command: Load) -> Event:
        vertex = command.vertex
        result = self._runner.load(vertex, command.stored, self._cancel)
        if result is None:
            if command.record is not None:
                self._forget(vertex, command.record)
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
            record = self._find_again(command) if command.recheck else None
            if record is not None:
                return Found(vertex=vertex, record=record)
            return self._run_now(command)

    def _find_again(self, command: Run) -> Record | None:
        if command.ingredients.is_whole:
            return self._find(command.vertex, command.keys)
        fast = command.keys[:-1]
        return (self._find(command.vertex, fast) if fast else None) or self._find_made_of(command)

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
        started = time.monotonic()
        result = runner.run(vertex, inputs, self._cancel)
        seconds = time.monotonic() - started
        identity = runner.identity(vertex, result)
        record = self._record(command, result, identity) if command.keys else None
        if record is not None and self._elsewhere is not None:
            self._elsewhere.ran(vertex, record, seconds)
        self.results[vertex.digest] = result
        self._announcer.ran(vertex)
        return Ran(vertex=vertex, identity=identity, record=record)

    def _record(self, command: Run, result: R, identity: str) -> Record:
        """Write the record of a step that has just run."""
        record = self._records.make(
            identity=identity,
            result=self._runner.store(command.vertex, result),
            step=command.vertex.name,
            ingredients=command.ingredients,
        )
        *others, last = command.keys
        if not command.ingredients.is_whole:
            last = candidate_key(last, identity)
        self._records.save((*others, last), record)
        return record
