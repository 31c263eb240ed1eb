"""Which results are made of what: whoever removes a part finds all that is nothing without it.

A result is a stack of parts, and most stacks of a build are one another's lower ends. So a row is a stack by its
topmost part and the stack below: a step that adds a layer adds a row, however many layers are below.
Where a stack has a row, all below it have theirs.

Records and the history both have results, and say of each that it is there (`Results.add`), in the transaction
in which they write it. A part that goes takes the rows of all stacks with it that it is in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from polyarch.record import frozen

__all__ = ["ResultDatabase", "Results", "Stack", "TakeApart", "take_over"]

_SCHEMA = (
    (
        "CREATE TABLE IF NOT EXISTS results_1 (identity TEXT PRIMARY KEY, part TEXT NOT NULL,"
        " below TEXT NOT NULL) WITHOUT ROWID"
    ),
    "CREATE INDEX IF NOT EXISTS results_1_part ON results_1 (part)",
    "CREATE INDEX IF NOT EXISTS results_1_below ON results_1 (below)",
)
_INSERT = "INSERT INTO results_1 VALUES (?, ?, ?) ON CONFLICT DO NOTHING RETURNING identity"
_SELECT_WITH_PART = """
WITH RECURSIVE found (identity) AS (
    SELECT identity FROM results_1 WHERE part = ?
    UNION SELECT above.identity FROM results_1 AS above JOIN found ON above.below = found.identity
) SELECT identity FROM found
"""


class ResultDatabase(Protocol):
    """What is needed of a `polyarch.store.database.Database`; used from several threads at once."""

    def ensure(self, schema: Sequence[str], /) -> None:
        """Make the tables that these statements create, if they aren't there."""

    def execute(
        self, statement: str, values: Sequence[str | int | float | bytes | None] = (), /
    ) -> Sequence[Sequence[object]]:
        """Execute one statement and return its rows. Raises StoreError."""

    def transaction(self) -> AbstractContextManager[object]:
        """Return a context in which this thread's statements happen all or not at all."""


@frozen
class Stack:
    """A stack of parts: its identity, its topmost part, and the identity of what is below."""

    identity: str
    part: str
    below: str


TakeApart = Callable[[str], Iterator[Stack]]
"""Yields the stack that a result's text stands for, the one below it, and so on down to the last part.

Nothing for a text that can't be read. Equal stacks have equal identities.
"""


class Results:
    """The results in one database."""

    def __init__(self, database: ResultDatabase, take_apart: TakeApart) -> None:
        self._database = database
        self._take_apart = take_apart
        database.ensure(_SCHEMA)

    def add(self, result: str) -> str:
        """Note what a result is made of, and return its identity: "" for a text that can't be read."""
        identity = ""
        for stack in self._take_apart(result):
            identity = identity or stack.identity
            new = self._database.execute(_INSERT, (stack.identity, stack.part, stack.below))
            if not new:
                break
        return identity

    def forget_parts(self, parts: Iterable[str]) -> tuple[str, ...]:
        """Forget the results with any of `parts`, which are gone, and return their identities."""
        gone: dict[str, None] = {}
        for part in parts:
            rows = self._database.execute(_SELECT_WITH_PART, (part,))
            found = dict.fromkeys(str(identity) for (identity,) in rows)
            for identity in found:
                self._database.execute("DELETE FROM results_1 WHERE identity = ?", (identity,))
            gone |= found
        return tuple(gone)


def take_over(
    database: ResultDatabase, name: str, schema: Sequence[str], fill: Callable[[], None]
) -> None:
    """Make the tables and indexes of `schema` and call `fill`, unless `name` is there, which is one of them.

    `fill` reads what versions before have left in tables of another name or shape. Of many processes
    that begin at once, one does it.
    """
    query = "SELECT 1 FROM sqlite_master WHERE name = ?"
    if database.execute(query, (name,)):
        return
    with database.transaction():
        if database.execute(query, (name,)):
            return
        for statement in schema:
            database.execute(statement)
        fill()
