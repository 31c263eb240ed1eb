"""What was built before, as far as it tells why something is built again; tables of the store.

Rows for each step of a project (a build context with a Dockerfile), of the last few times that it ran, and one
for each project with the explanations of its last build. All of it is bounded, in number and in bytes. When a
result is collected, the listings of the files that it was made of go with it; the rest stays for a while, so
that it can be said that there was one.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

from polyarch.digest import Digest, sha256
from polyarch.record import asdict, frozen
from polyarch.request.explanation import Cause, CauseKind, Explanation, Outcome
from polyarch.request.values import is_address
from polyarch.snapshot.stack import take_apart
from polyarch.store.results import ResultDatabase, Results, take_over
from polyarch.why.listing import FileMark, pack, unpack
from polyarch.why.trace import Slot, Trace, scrubbed

__all__ = ["Explained", "History", "Project", "TraceRow", "place_of"]

MOST_TRACES = 4000
GENERATIONS = 4
MOST_LISTED = 64_000_000
MOST_BUILDS = 50
_UNREADABLE = (ValueError, KeyError, TypeError)
_LONGEST = 60 * 24 * 3600.0

_TRACES = "traces_2"
_SCHEMA = (
    (
        "CREATE TABLE IF NOT EXISTS traces_2 (project TEXT NOT NULL, slot TEXT NOT NULL, made TEXT NOT NULL,"
        " op TEXT NOT NULL, body TEXT NOT NULL, listings BLOB, result TEXT NOT NULL,"
        " written REAL NOT NULL, collected INTEGER NOT NULL, identity TEXT NOT NULL,"
        " PRIMARY KEY (project, slot, made))"
    ),
    "CREATE INDEX IF NOT EXISTS traces_2_op ON traces_2 (op)",
    "CREATE INDEX IF NOT EXISTS traces_2_identity ON traces_2 (identity)",
    (
        "CREATE TABLE IF NOT EXISTS explained_1 (project TEXT PRIMARY KEY, ended REAL NOT NULL,"
        " body TEXT NOT NULL) WITHOUT ROWID"
    ),
)
_SELECT_PROJECT = (
    "SELECT project, slot, op, body, result, collected FROM traces_2 WHERE project = ?"
    " ORDER BY written DESC, slot"
)
_SELECT_OP = (
    "SELECT project, slot, op, body, result, collected FROM traces_2 WHERE op = ?"
    " ORDER BY written DESC LIMIT 20"
)


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


def place_of(value: str) -> str:
    """Return a build context or a Dockerfile as projects are told apart by it.

    A directory or a file is its path, an address has lost the login that it may hold.
    """
    is_path = value not in {"", "-"} and not is_address(value)
    return os.path.realpath(value) if is_path else scrubbed(value)


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

    def __init__(self, database: ResultDatabase, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._results = Results(database, take_apart)
        take_over(database, _TRACES, _SCHEMA, self._move)

    # --- traces ---

    def traces(self, project: Project) -> tuple[Trace, ...]:
        """Return the traces of a project's steps, the newest first."""
        rows = self._database.execute(_SELECT_PROJECT, (project.to_text(),))
        return tuple(trace for _, trace in _read(rows))

    def equal_ops(self, op: Digest) -> tuple[tuple[Project, Trace], ...]:
        """Return the traces of an op in whatever project, the newest first."""
        return tuple(_read(self._database.execute(_SELECT_OP, (op,))))

    def listing(self, project: Project, trace: Trace, index: int) -> dict[str, FileMark] | None:
        """Return the files that a step read of its input `index`; None if they aren't known any more."""
        rows = self._database.execute(
            "SELECT listings FROM traces_2 WHERE project = ? AND slot = ? AND made = ?",
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
        statement = "INSERT OR REPLACE INTO traces_2 VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, ?)"
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
                    self._results.add(row.result),
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
        execute("DELETE FROM traces_2 WHERE written < ?", (now - _LONGEST,))
        execute(
            "DELETE FROM traces_2 WHERE rowid IN"
            " (SELECT rowid FROM traces_2 ORDER BY written DESC LIMIT -1 OFFSET ?)",
            (MOST_TRACES,),
        )
        execute(
            "DELETE FROM traces_2 WHERE rowid IN (SELECT id FROM (SELECT rowid AS id, row_number()"
            " OVER (PARTITION BY project, slot ORDER BY written DESC) AS age FROM traces_2) WHERE age > ?)",
            (GENERATIONS,),
        )
        execute(
            "DELETE FROM explained_1 WHERE project IN"
            " (SELECT project FROM explained_1 ORDER BY ended DESC LIMIT -1 OFFSET ?)",
            (MOST_BUILDS,),
        )
        execute(
            "UPDATE traces_2 SET listings = NULL WHERE listings IS NOT NULL AND rowid IN (SELECT id FROM"
            " (SELECT rowid AS id, sum(length(listings)) OVER (ORDER BY written DESC, rowid) AS total"
            " FROM traces_2 WHERE listings IS NOT NULL) WHERE total > ?)",
            (MOST_LISTED,),
        )

    # --- collection ---

    def forget_all(self, identities: Iterable[str]) -> None:
        """Forget of what files the results were made that have these identities: they are gone.

        What was said of a project's build goes with the last of its results.
        """
        for identity in identities:
            self._database.execute(
                "UPDATE traces_2 SET listings = NULL, collected = 1 WHERE identity = ?", (identity,)
            )
        self._database.execute(
            "DELETE FROM explained_1 WHERE project NOT IN"
            " (SELECT project FROM traces_2 WHERE collected = 0)"
        )

    def _move(self) -> None:
        """Take the traces out of the table that had no identities; it may be missing."""
        if not self._database.execute("SELECT 1 FROM sqlite_master WHERE name = 'traces_1'"):
            return
        self._database.execute("INSERT INTO traces_2 SELECT *, '' FROM traces_1")
        # They are up to 64 MB: a version that is older begins anew.
        self._database.execute("DROP TABLE traces_1")
        rows = self._database.execute("SELECT rowid, result FROM traces_2 WHERE result != ''")
        for row, result in rows:
            self._database.execute(
                "UPDATE traces_2 SET identity = ? WHERE rowid = ?",
                (self._results.add(str(result)), int(str(row))),
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
    """Read an explanation as `asdict` writes it; anything else raises TypeError, ValueError or KeyError."""
    causes, through = fields["causes"], fields["through"]
    if not isinstance(causes, list) or not isinstance(through, list):
        raise TypeError("an explanation has lists of causes and of steps")
    made = tuple(Cause(**{**cause, "kind": CauseKind(cause["kind"])}) for cause in causes)
    outcome = Outcome(str(fields["outcome"]))
    return Explanation(**{**fields, "outcome": outcome, "causes": made, "through": tuple(through)})  # type: ignore[arg-type]


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
