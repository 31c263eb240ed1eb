"""When a build ran, and what it is called, such that an unchanged one says the same again.

Provenance has a name and two times that are of one run. A build in which nothing ran anew, and of which everything
else is known to have been attested before, attests the run that made it. With SOURCE_DATE_EPOCH the times are that,
and the name follows from the content, so that builds of other machines agree, too.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from polyarch.digest import Digest, hex_of, sha256
from polyarch.golang.time import time_of
from polyarch.record import frozen
from polyarch.request.ref import build_id
from polyarch.store.database import Database

__all__ = ["NOBODY", "Invocation", "Invocations"]

_SCHEMA = (
    (
        "CREATE TABLE IF NOT EXISTS invocations_1 (content TEXT PRIMARY KEY, id TEXT NOT NULL,"
        " started INTEGER NOT NULL, finished INTEGER NOT NULL, used REAL NOT NULL) WITHOUT ROWID"
    ),
)
_KEPT_SECONDS = 90 * 24 * 3600.0
_FRESH_SECONDS = 24 * 3600.0
"""Within so long a further use isn't noted, so that an unchanged build, again, writes nothing."""
_NANOSECONDS = 1_000_000_000


@frozen
class Invocation:
    """A run of a build: its name, and when it began and ended, in nanoseconds since the epoch."""

    id: str
    started: int
    finished: int

    @property
    def started_on(self) -> str:
        """When it began, RFC 3339."""
        return time_of(self.started, per_second=_NANOSECONDS).rfc3339()

    @property
    def finished_on(self) -> str:
        """When it ended, RFC 3339."""
        return time_of(self.finished, per_second=_NANOSECONDS).rfc3339()


NOBODY = Invocation(id="", started=0, finished=0)
"""Stands in documents in the place of the run, where they are compared."""


class Invocations:
    """The runs that a store remembers, by the digest of what they attested without the run itself."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def settle(
        self, contents: Sequence[bytes], run: Invocation, *, is_cached: bool, epoch: int | None
    ) -> Invocation:
        """Return the run that made `contents`: documents with NOBODY in them, and digests of manifests.

        `run` is this one; `is_cached` says that nothing ran in it; `epoch`, in seconds, is the time that all is to have.
        Raises StoreError.
        """
        content = sha256(b"\0".join(contents))
        if epoch is not None:
            moment = epoch * _NANOSECONDS
            return Invocation(
                id=build_id(int(hex_of(content), 16)), started=moment, finished=moment
            )
        self._database.ensure(_SCHEMA)
        known = self._find(content) if is_cached else None
        if known is None:
            self._note(content, run)
        return known or run

    def _find(self, content: Digest) -> Invocation | None:
        statement = "SELECT id, started, finished, used FROM invocations_1 WHERE content = ?"
        rows = self._database.execute(statement, (content,))
        if not rows:
            return None
        name, started, finished, used = rows[0]
        assert isinstance(name, str)
        assert isinstance(started, int)
        assert isinstance(finished, int)
        assert isinstance(used, float)
        now = time.time()
        if now - used > _FRESH_SECONDS:
            update = "UPDATE invocations_1 SET used = ? WHERE content = ?"
            self._database.execute(update, (now, content))
        return Invocation(id=name, started=started, finished=finished)

    def _note(self, content: Digest, run: Invocation) -> None:
        now = time.time()
        row = (content, run.id, run.started, run.finished, now)
        with self._database.transaction():
            self._database.execute(
                "INSERT OR REPLACE INTO invocations_1 VALUES (?, ?, ?, ?, ?)", row
            )
            outdated = "DELETE FROM invocations_1 WHERE used < ?"
            self._database.execute(outdated, (now - _KEPT_SECONDS,))
