"""The store's records: one SQLite file that many processes and threads share.

Tables belong to the module that uses them: it states them in a constant (`CREATE TABLE IF NOT EXISTS`)
and hands it to `Database.ensure` before its first statement. A table that changes its shape gets a
new name. That of the old shape stays, for a version that is older, until the file is set aside as damaged
or removed: it no longer grows. Where its rows are worth having, they are taken over when the new table is
made (`polyarch.store.results.take_over`).

The file is in WAL mode, so that readers never wait. `synchronous=NORMAL` may lose the last
transactions in a power failure, but neither in a crash nor in a kill, and never leaves a damaged file;
a lost record means that a step runs again.

To close the file is to sync it: SQLite carries over what is in the log of writes, which takes three syncs,
and the next write begins a log anew, which takes two more. A process that is about to end leaves the
file as a kill would (`Database.leave`): the log stays, and the next process writes on at its end.
"""

from __future__ import annotations

import os
import sqlite3
import stat
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from polyarch.errors import StoreError
from polyarch.store.trouble import FREE_SPACE, is_full

__all__ = ["Database", "Row", "Value"]

Value = str | int | float | bytes | None
Row = tuple[Value, ...]

_BUSY_SECONDS = 60.0
_LONG_LOG = 1 << 20
"""A log of so many bytes is carried over after all: who opens the file next reads it (a millisecond)."""
_left: list[sqlite3.Connection] = []
"""What `Database.leave` has left: a connection that nobody refers to is closed by Python."""


class Database:
    """A SQLite file: a connection per thread, made when it is first needed.

    Every method raises StoreError for what goes wrong in SQLite.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._local = threading.local()
        self._lock = threading.Lock()
        self._connections: list[sqlite3.Connection] = []
        self._ensured: set[int] = set()

    def ensure(self, schema: Sequence[str]) -> None:
        """Execute the statements of a schema constant, once per process; each may be repeated.

        `schema` is told apart by identity: pass a module's constant. Not to be called inside a
        transaction.
        """
        if id(schema) in self._ensured:
            return
        for statement in schema:
            self.execute(statement)
        self._ensured.add(id(schema))

    def execute(self, statement: str, values: Sequence[Value] = ()) -> list[Row]:
        """Execute one statement and return all its rows.

        Outside of `transaction` it is a transaction of its own.
        """
        with self._trouble():
            return self._connection().execute(statement, values).fetchall()

    def executemany(self, statement: str, rows: Iterable[Sequence[Value]]) -> None:
        """Execute one statement for each of `rows`, in one transaction."""
        with self.transaction(), self._trouble():
            self._connection().executemany(statement, rows)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Make all statements of this thread inside the block one transaction.

        It is the only writing one of all processes until the block is left, so what it has read
        stays true: keep it short. An exception undoes it. Blocks may be nested; the outermost counts.
        """
        connection = self._connection()
        if connection.in_transaction:
            yield
            return
        with self._trouble():
            connection.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        with self._trouble():
            connection.execute("COMMIT")

    def check(self) -> list[str]:
        """Return what SQLite finds wrong with the file; nothing when it is sound. Reads all of it."""
        try:
            rows = self.execute("PRAGMA integrity_check")
        except StoreError as error:
            return [str(error)]
        return [str(row[0]) for row in rows if row[0] != "ok"]

    def version(self) -> int:
        """Return a number that is another one after others than this thread have changed something."""
        [(number,)] = self.execute("PRAGMA data_version")
        return int(number or 0)

    def close(self) -> None:
        """Close the connections of all threads; none may be in use."""
        with self._lock:
            connections, self._connections = self._connections, []
            self._local = threading.local()
        for connection in connections:
            connection.close()

    def leave(self) -> None:
        """Close nothing, unless the log is long: the process is about to end, by `os._exit`.

        Nothing of the file may be used afterwards.
        """
        with suppress(OSError):
            if os.stat(f"{self.path}-wal").st_size < _LONG_LOG:
                _left.extend(self._connections)
                return
        self.close()

    def reset(self) -> None:
        """Forget which schemas were ensured: the file was replaced by a new one."""
        self.close()
        self._ensured.clear()

    def _connection(self) -> sqlite3.Connection:
        local = self._local
        # A connection must not be used on both sides of a fork; the child makes its own.
        if getattr(local, "pid", 0) != os.getpid():
            with self._trouble():
                local.connection = self._connect()
            local.pid = os.getpid()
        connection: sqlite3.Connection = local.connection
        return connection

    def _connect(self) -> sqlite3.Connection:
        # SQLite would let others read it, and the files that it puts beside it have the same mode.
        with suppress(OSError):
            os.mknod(self.path, stat.S_IFREG | 0o600)
        connection = sqlite3.connect(
            self.path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False
        )
        with self._lock:
            self._connections.append(connection)
        _write_ahead(connection)
        connection.execute("PRAGMA synchronous=NORMAL")
        return connection

    @contextmanager
    def _trouble(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise StoreError(
                f"can't use {self.path}: {error}", hint=_hint(error, self.path)
            ) from error


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Set the mode of the file. Raises sqlite3.Error.

    The first to open a new file changes its mode, and whoever comes at that moment is refused at once:
    SQLite's own patience doesn't go for this statement.
    """
    end = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > end:
                raise
            time.sleep(0.01)
        else:
            return


def _hint(error: sqlite3.Error, path: Path) -> str:
    name = ""
    with suppress(AttributeError):
        name = error.sqlite_errorname
    # Where the files beside the database find no room, SQLite gives other reasons.
    beside = name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN")) and is_full(path.parent)
    if name == "SQLITE_FULL" or beside:
        return f"the disk is full: {FREE_SPACE}"
    if name.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return "set POLYARCH_ROOT to a directory that you may write, or fix the permissions"
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return "'polyarch doctor --repair' sets it aside; images stay, steps run again"
    if name.startswith("SQLITE_BUSY"):
        return "another polyarch process holds it for too long; try again"
    return "'polyarch doctor' looks for the cause"
