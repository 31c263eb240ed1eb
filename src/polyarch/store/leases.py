"""What is in use right now, so that the garbage collector leaves it alone.

A lease is a row; it counts as long as the process that made it lives, which is known by the flock on
its scratch folder. Taking a lease and asking whether the thing is there happen in one transaction, as
do the collector's look at the leases and its removal of the record: one of both comes first.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from polyarch.store.database import Database

__all__ = ["SCHEMA", "Lease", "Leases"]

SCHEMA = (
    (
        "CREATE TABLE IF NOT EXISTS leases_1 (owner TEXT, lease INTEGER, resource TEXT,"
        " PRIMARY KEY (owner, lease, resource)) WITHOUT ROWID"
    ),
)


class Lease:
    """Things that stay while this is held; made by `Leases.hold`."""

    def __init__(self, database: Database, owner: str, number: int) -> None:
        self._database = database
        self._owner = owner
        self._number = number
        self._held: set[str] = set()

    def add(self, *resources: str) -> None:
        """Keep these too: snapshot ids and blob digests. To be called before they are looked up."""
        fresh = set(resources) - self._held
        if not fresh:
            return
        self._database.executemany(
            "INSERT OR IGNORE INTO leases_1 VALUES (?, ?, ?)",
            [(self._owner, self._number, resource) for resource in sorted(fresh)],
        )
        self._held |= fresh


class Leases:
    """The leases of a store."""

    def __init__(
        self, database: Database, owner: Callable[[], str], is_alive: Callable[[str], bool]
    ) -> None:
        """Take leases for the process named `owner()`; `is_alive` tells if another still is."""
        self._database = database
        self._owner = owner
        self._is_alive = is_alive
        self._lock = threading.Lock()
        self._next = 0

    @contextmanager
    def hold(self, resources: Iterable[str] = ()) -> Iterator[Lease]:
        """Keep `resources`, and what is added to the lease, until the block is left."""
        self._database.ensure(SCHEMA)
        with self._lock:
            self._next += 1
            number = self._next
        owner = self._owner()
        lease = Lease(self._database, owner, number)
        try:
            lease.add(*resources)
            yield lease
        finally:
            self._database.execute(
                "DELETE FROM leases_1 WHERE owner = ? AND lease = ?", (owner, number)
            )

    def held(self) -> frozenset[str]:
        """Return what living processes hold, and forget what the dead have held."""
        self._database.ensure(SCHEMA)
        owners = [str(row[0]) for row in self._database.execute("SELECT owner FROM leases_1")]
        dead = [owner for owner in sorted(set(owners)) if not self._is_alive(owner)]
        if dead:
            self._database.executemany(
                "DELETE FROM leases_1 WHERE owner = ?", [(owner,) for owner in dead]
            )
        rows = self._database.execute("SELECT DISTINCT resource FROM leases_1")
        return frozenset(str(row[0]) for row in rows)
