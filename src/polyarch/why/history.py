"""What was built before, as far as it tells why something is built again; tables of the store.

Rows for each step of a project (a build context with a Dockerfile), of the last few times that it ran, and one
for each project with the explanations of its last build. All of it is bounded, in number and in bytes. When a
result is collected, the listings of the files that it was made of go with it; the rest stays for a while, so
that it can be said that there was one.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from typing import Protocol

from polyarch.digest import Digest, sha256
from polyarch.record import asdict, frozen
from polyarch.request.explanation import Cause, Explanation
from polyarch.why.listing import FileMark, pack, unpack
from polyarch.why.trace import Slot, Trace

__all__ = ["Explained", "History", "HistoryDatabase", "Project", "TraceRow"]

MOST_TRACES = 4000
GENERATIONS = 4
MOST_LISTED = 64_000_000
MOST_BUILDS = 50
_UNREADABLE = (ValueError, KeyError, TypeError)
_LONGEST = 60 * 24 * 3600.0

_SCHEMA = (
    (
        "CREATE TABLE IF NOT EXISTS traces_1 (project TEXT NOT NULL, slot TEXT NOT NULL, made TEXT NOT NULL,"
        " op TEXT NOT NULL, body TEXT NOT NULL, listings BLOB, result TEXT NOT NULL,"
        " written REAL NOT NULL, collected INTEGER NOT NULL, PRIMARY KEY (project, slot, made))"
    ),
    "CREATE INDEX IF NOT EXISTS traces_1_op ON traces_1 (op)",
    (
        "CREATE TABLE IF NOT EXISTS explained_1 (project TEXT PRIMARY KEY, ended REAL NOT NULL,"
        " body TEXT NOT NULL) WITHOUT ROWID"
    ),
)
_COLUMNS = "project, slot, op, body, result, collected"


class HistoryDatabase(Protocol):
    """What is needed of a `polyarch.store.database.Database`."""

    def ensure(self, schema: Sequence[str], /) -> None:
        """Make the tables that these statements create, if they aren't there."""

    def execute(
        self, statement: str, values: Sequence[str | int | float | bytes | None] = (), /
    ) -> Sequence[Sequence[object]]:
        """Execute one statement and return its rows. Raises StoreError."""

    def transaction(self) -> AbstractContextManager[object]:
        """Return a context in which this thread's statements happen all or not at all."""


@frozen
class Project:
    """What is built again and again: a build context (a directory's path, an address, "-") and a Dockerfile."""

    context: str
    dockerfile: str = ""

    def to_text(self) -> str:
        """Write it as the name of rows."""
        return json.dumps([self.context, self.dockerfile])

    @staticmethod
    def from_text(text: str) -> Project:
        """Read what `to_text` wrote. Raises ValueError."""
        context, dockerfile = json.loads(text)
        return Project(context=context, dockerfile=dockerfile)


@frozen
class TraceRow:
    """A trace with what is kept beside it: the listings by input, and the text of the step's result."""

    trace: Trace
    listings: Mapping[int, Mapping[str, FileMark] | None]
    result: str = ""


@frozen
class Explained:
    """The explanations of a build, which ended at `ended`, in seconds since the epoch."""

    project: Project
    ended: float
    steps: tuple[Explanation, ...]


class History:
    """The history in one database. `clock` gives seconds since the epoch. Methods raise StoreError."""

    def __init__(
        self, database: HistoryDatabase, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._database = database
        self._clock = clock
        database.ensure(_SCHEMA)

    # --- traces ---

    def traces(self, project: Project) -> tuple[Trace, ...]:
        """Return the traces of a project's steps, the newest first."""
        statement = f"SELECT {_COLUMNS} FROM traces_1 WHERE project = ? ORDER BY written DESC, slot"  # noqa: S608 ours
        rows = self._database.execute(statement, (project.to_text(),))
        return tuple(trace for _, trace in _read(rows))

    def equal_ops(self, op: Digest) -> tuple[tuple[Project, Trace], ...]:
        """Return the traces of an op in whatever project, the newest first."""
        statement = f"SELECT {_COLUMNS} FROM traces_1 WHERE op = ? ORDER BY written DESC LIMIT 20"  # noqa: S608 ours
        return tuple(_read(self._database.execute(statement, (op,))))

    def listing(self, project: Project, trace: Trace, index: int) -> dict[str, FileMark] | None:
        """Return the files that a step read of its input `index`; None if they aren't known any more."""
        rows = self._database.execute(
            "SELECT listings FROM traces_1 WHERE project = ? AND slot = ? AND made = ?",
            (project.to_text(), trace.slot.to_text(), _digest(trace.to_json())),
        )
        blob = rows[0][0] if rows else None
        with suppress(*_UNREADABLE):
            return _read_listings(blob).get(index) if isinstance(blob, bytes) else None
        return None

    def save(
        self, project: Project, rows: Iterable[TraceRow], explanations: Sequence[Explanation]
    ) -> None:
        """Write traces, in place of older ones, and what is said of the build that they are of."""
        now = self._clock()
        statement = "INSERT OR REPLACE INTO traces_1 VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0)"
        body = json.dumps([asdict(each) for each in explanations])
        with self._database.transaction():
            for row in rows:
                text = row.trace.to_json()
                values = (
                    project.to_text(),
                    row.trace.slot.to_text(),
                    _digest(text),
                    row.trace.op,
                    text,
                    _write_listings(row.listings),
                    row.result,
                    now,
                )
                self._database.execute(statement, values)
            self._database.execute(
                "INSERT OR REPLACE INTO explained_1 VALUES (?, ?, ?)",
                (project.to_text(), now, body),
            )
            self._bound(now)

    def _bound(self, now: float) -> None:
        """Drop what is too old or too much: builds, steps, and the listings of steps that ran long ago."""
        execute = self._database.execute
        execute("DELETE FROM traces_1 WHERE written < ?", (now - _LONGEST,))
        execute(
            "DELETE FROM traces_1 WHERE rowid IN"
            " (SELECT rowid FROM traces_1 ORDER BY written DESC LIMIT -1 OFFSET ?)",
            (MOST_TRACES,),
        )
        execute(
            "DELETE FROM traces_1 WHERE rowid IN (SELECT id FROM (SELECT rowid AS id, row_number()"
            " OVER (PARTITION BY project, slot ORDER BY written DESC) AS age FROM traces_1) WHERE age > ?)",
            (GENERATIONS,),
        )
        execute(
            "DELETE FROM explained_1 WHERE project IN"
            " (SELECT project FROM explained_1 ORDER BY ended DESC LIMIT -1 OFFSET ?)",
            (MOST_BUILDS,),
        )
        execute(
            "UPDATE traces_1 SET listings = NULL WHERE listings IS NOT NULL AND rowid IN (SELECT id FROM"
            " (SELECT rowid AS id, sum(length(listings)) OVER (ORDER BY written DESC, rowid) AS total"
            " FROM traces_1 WHERE listings IS NOT NULL) WHERE total > ?)",
            (MOST_LISTED,),
        )

    # --- collection ---

    def forget_parts(self, parts: Iterable[str]) -> None:
        """Forget of what files the results were made that contain one of `parts`: snapshots that are gone.

        What was said of a project's build goes with the last of its results.
        """
        for part in parts:
            self._database.execute(
                "UPDATE traces_1 SET listings = NULL, collected = 1 WHERE instr(result, ?) > 0",
                (part,),
            )
        self._database.execute(
            "DELETE FROM explained_1 WHERE project NOT IN"
            " (SELECT project FROM traces_1 WHERE collected = 0)"
        )

    # --- explanations ---

    def builds(self) -> tuple[Explained, ...]:
        """Return the last builds of all projects in which a step ran, the newest first."""
        rows = self._database.execute(
            "SELECT project, ended, body FROM explained_1 ORDER BY ended DESC"
        )
        return tuple(found for row in rows for found in _explained(row))


def _digest(body: str) -> Digest:
    return sha256(body.encode("utf-8", "surrogateescape"))


def _read(rows: Iterable[Sequence[object]]) -> Iterable[tuple[Project, Trace]]:
    for project, slot, op, body, result, collected in rows:
        # A row that can't be read is one less to compare with; no build fails for it.
        with suppress(*_UNREADABLE):
            trace = Trace.from_json(
                Slot.from_text(str(slot)),
                Digest(str(op)),
                str(body),
                result=str(result),
                is_collected=bool(collected),
            )
            yield Project.from_text(str(project)), trace


def _explained(row: Sequence[object]) -> Iterator[Explained]:
    project, ended, body = row
    with suppress(*_UNREADABLE):
        yield Explained(
            project=Project.from_text(str(project)),
            ended=float(str(ended)),
            steps=tuple(_explanation(fields) for fields in json.loads(str(body))),
        )


def _explanation(fields: Mapping[str, object]) -> Explanation:
    """Read an explanation as `asdict` writes it; anything else raises TypeError."""
    causes, through = fields["causes"], fields["through"]
    if not isinstance(causes, list) or not isinstance(through, list):
        raise TypeError("an explanation has lists of causes and of steps")
    made = tuple(Cause(**cause) for cause in causes)
    return Explanation(**{**fields, "causes": made, "through": tuple(through)})  # type: ignore[arg-type]


def _write_listings(listings: Mapping[int, Mapping[str, FileMark] | None]) -> bytes | None:
    """Write a length and a packed listing for each input; what is too large to be kept isn't there."""
    packed = b""
    for index, listing in listings.items():
        if listing is not None:
            data = pack(listing)
            packed += index.to_bytes(4, "little") + len(data).to_bytes(4, "little") + data
    return packed or None


def _read_listings(data: bytes) -> dict[int, dict[str, FileMark]]:
    """Read what `_write_listings` wrote. Raises ValueError."""
    found: dict[int, dict[str, FileMark]] = {}
    place = 0
    while place < len(data):
        index, size = (
            int.from_bytes(data[start : start + 4], "little") for start in (place, place + 4)
        )
        found[index] = unpack(data[place + 8 : place + 8 + size])
        place += 8 + size
    return found
