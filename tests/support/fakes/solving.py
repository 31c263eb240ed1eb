"""Stand-ins that count: a runner whose results are texts, records in memory, locks between threads."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from polyarch.digest import DiffID, Digest, sha256
from polyarch.graph.graph import GraphMaker
from polyarch.graph.op import (
    BindMount,
    CopyAction,
    ExecOp,
    FileOp,
    ImageOp,
    LocalOp,
    ScratchOp,
)
from polyarch.graph.vertex import Vertex
from polyarch.platforms import linux
from polyarch.progress import CancelToken
from polyarch.snapshot.stack import take_apart
from polyarch.solver.key import Content
from polyarch.solver.records import Records
from polyarch.solver.slots import SlotKind
from polyarch.store.database import Database
from polyarch.store.results import Results

__all__ = [
    "Bench",
    "CountingRunner",
    "MemoryDatabase",
    "ThreadLocks",
    "Tree",
    "make_records",
]

_LINUX = linux("amd64")
Tree = Mapping[str, str]


class MemoryDatabase:
    """An SQLite database in memory; counts the transactions that write."""

    def __init__(self) -> None:
        self._connection = sqlite3.connect(
            ":memory:", check_same_thread=False, isolation_level=None
        )
        self._lock = threading.RLock()
        self.transactions = 0

    def ensure(self, schema: Sequence[str]) -> None:
        for statement in schema:
            self.execute(statement)

    def execute(self, sql: str, parameters: Sequence[object] = ()) -> list[tuple[object, ...]]:
        with self._lock:
            rows: list[tuple[object, ...]] = self._connection.execute(
                sql, tuple(parameters)
            ).fetchall()
            return rows

    @contextmanager
    def transaction(self) -> Iterator[None]:
        with self._lock:
            self.transactions += 1
            self._connection.execute("BEGIN")
            try:
                yield
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def close(self) -> None:
        self._connection.close()


def make_records(
    database: MemoryDatabase | Database, clock: Callable[[], float] = time.time
) -> Records:
    """Return the records in `database`, beside its results."""
    return Records(database, Results(database, take_apart), clock=clock)


class ThreadLocks:
    """Locks by name between the threads of this process; remembers what was locked."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._held: set[str] = set()
        self.acquired: list[str] = []

    @contextmanager
    def exclusive(
        self, name: str, *, wait: bool = True, check: Callable[[], None] | None = None
    ) -> Iterator[bool]:
        if not self._take(name, wait, check or (lambda: None)):
            yield False
            return
        try:
            yield True
        finally:
            with self._changed:
                self._held.remove(name)
                self._changed.notify_all()

    def _take(self, name: str, wait: bool, check: Callable[[], None]) -> bool:
        with self._changed:
            while name in self._held:
                if not wait:
                    return False
                check()
                self._changed.wait(0.01)
            self._held.add(name)
            self.acquired.append(name)
            return True


@dataclass(slots=True, kw_only=True)
class CountingRunner:
    """Steps whose results are directories of texts, and counters of everything that is asked of it.

    A step's result holds one file, `out`, made of all that the step reads. With `is_lasting` equal
    results have equal identities; without, every run gives a new one. With `is_glancing` a copy that
    reads another step's result knows of its files only how long they are. `before` is called at the
    start of every run. `present` names the images that needn't be fetched.
    """

    contexts: dict[str, Tree] = field(default_factory=dict)
    is_lasting: bool = False
    is_glancing: bool = False
    before: Callable[[Vertex, CancelToken], None] = lambda vertex, cancel: None
    present: set[str] = field(default_factory=set)
    durable: dict[str, Tree] = field(default_factory=dict)
    runs: Counter[str] = field(default_factory=Counter)
    fetches: Counter[str] = field(default_factory=Counter)
    loads: Counter[str] = field(default_factory=Counter)
    reads: Counter[str] = field(default_factory=Counter)
    comparisons: Counter[str] = field(default_factory=Counter)
    threads: set[int] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _number: int = 0

    def source_identity(self, vertex: Vertex) -> str:
        if isinstance(vertex.op, LocalOp):
            return f"local {self._next()}"
        return f"source {vertex.cache_digest}"

    def identity(self, vertex: Vertex, result: Tree) -> str:
        return f"same {_digest(result)}" if self.is_lasting else f"run {self._next()}"

    def content_inputs(self, vertex: Vertex) -> frozenset[int]:
        return frozenset(range(1, len(vertex.inputs)))

    def content(self, vertex: Vertex, index: int, source: Tree, cancel: CancelToken) -> Content:
        self._count(self.reads, vertex)
        seen = _seen(vertex, index, source)
        is_whole = not (
            self.is_glancing and isinstance(vertex.op, FileOp) and vertex.inputs[index].inputs
        )
        if not is_whole:
            seen = {path: str(len(text)) for path, text in seen.items()}
        return Content(digest=_digest(seen), is_whole=is_whole)

    def is_made_of(
        self, vertex: Vertex, result: Tree, inputs: Mapping[int, Tree], cancel: CancelToken
    ) -> bool:
        self._count(self.comparisons, vertex)
        made_of = result["out"].split()[1:]
        return all(
            made_of[index] == _digest(_seen(vertex, index, tree)) for index, tree in inputs.items()
        )

    def run(self, vertex: Vertex, inputs: Sequence[Tree], cancel: CancelToken) -> Tree:
        self._count(self.runs if inputs else self.fetches, vertex)
        self.before(vertex, cancel)
        return self.expected(vertex, inputs)

    def store(self, vertex: Vertex, result: Tree) -> str:
        stored = f"{vertex.name} {self._next()}"
        self.durable[stored] = result
        return stored

    def load(self, vertex: Vertex, stored: str, _cancel: CancelToken, /) -> Tree | None:
        if not vertex.inputs:
            return self.expected(vertex, ()) if vertex.name in self.present else None
        self._count(self.loads, vertex)
        return self.durable.get(stored)

    def kind(self, vertex: Vertex) -> SlotKind:
        if not vertex.inputs:
            return SlotKind.SOURCE
        return SlotKind.EXEC if isinstance(vertex.op, ExecOp) else SlotKind.FILE

    def expected(self, vertex: Vertex, inputs: Sequence[Tree]) -> Tree:
        """What `vertex` makes of `inputs`."""
        if isinstance(vertex.op, LocalOp):
            return dict(self.contexts[vertex.op.name])
        if not inputs:
            return {"source": str(vertex.cache_digest)}
        seen = [_digest(_seen(vertex, index, tree)) for index, tree in enumerate(inputs)]
        return {"out": " ".join([vertex.cache_digest, *seen])}

    def forget_counts(self) -> None:
        """Start to count anew."""
        for counter in self.runs, self.fetches, self.loads, self.reads, self.comparisons:
            counter.clear()
        self.threads.clear()

    def _next(self) -> int:
        with self._lock:
            self._number += 1
            return self._number

    def _count(self, counter: Counter[str], vertex: Vertex) -> None:
        with self._lock:
            counter[vertex.name] += 1
            self.threads.add(threading.get_ident())


def _seen(vertex: Vertex, index: int, tree: Tree) -> Tree:
    """What `vertex` reads of an input: a copy only the files that it names, if they are there."""
    if isinstance(vertex.op, FileOp) and index:
        wanted = {
            path
            for action in vertex.op.actions
            if isinstance(action, CopyAction) and action.input == index
            for path in action.sources
        }
        return {path: text for path, text in tree.items() if path in wanted or path == "out"}
    return tree


def _digest(tree: Tree) -> Digest:
    return sha256(repr(sorted(tree.items())).encode())


class Bench:
    """Makes vertices by short names."""

    def __init__(self) -> None:
        self._maker = GraphMaker()

    def scratch(self) -> Vertex:
        return self._maker.add(ScratchOp())

    def image(self, name: str, *, reference: str = "") -> Vertex:
        digest = sha256(name.encode())
        op = ImageOp(
            reference=reference or name,
            digest=digest,
            platform=_LINUX,
            diff_ids=(DiffID(digest),),
        )
        return self._maker.add(op, name=reference or name)

    def local(self, name: str = "context") -> Vertex:
        return self._maker.add(LocalOp(name=name), name=name)

    def run(self, name: str, *inputs: Vertex, ignore_cache: bool = False) -> Vertex:
        """An exec in the first input; the others are mounted, and read by content."""
        mounts = tuple(
            BindMount(target=f"/{index}", input=index) for index in range(1, len(inputs))
        )
        op = ExecOp(argv=(name,), env=(), cwd="/", user="", platform=_LINUX, mounts=mounts)
        return self._maker.add(op, inputs, name=name, ignore_cache=ignore_cache)

    def copy(
        self,
        name: str,
        base: Vertex,
        *sources: Vertex,
        paths: tuple[str, ...] = ("a",),
        ignore_cache: bool = False,
    ) -> Vertex:
        """A copy of `paths` from every source into `base`, where it is called `name`."""
        actions = tuple(
            CopyAction(input=index, sources=paths, destination=f"/{name}")
            for index in range(1, len(sources) + 1)
        )
        return self._maker.add(
            FileOp(actions=actions), (base, *sources), name=name, ignore_cache=ignore_cache
        )
