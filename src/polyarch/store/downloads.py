"""What is known of files of web servers: which blob an address gave, and how to ask if it still does."""

from __future__ import annotations

from polyarch.digest import Digest
from polyarch.record import frozen
from polyarch.store.database import Database

__all__ = ["SCHEMA", "Download", "Downloads"]

SCHEMA = (
    (
        "CREATE TABLE IF NOT EXISTS downloads_2 (url TEXT PRIMARY KEY, digest TEXT NOT NULL,"
        " etag TEXT NOT NULL, modified TEXT NOT NULL) WITHOUT ROWID"
    ),
)


@frozen
class Download:
    """A file that was fetched. `etag` and `modified` are the server's headers, "" if it gave none."""

    url: str
    digest: Digest
    etag: str = ""
    modified: str = ""


class Downloads:
    """The files that were fetched. A cache: all of it can be lost, and so can the blobs."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def find(self, url: str) -> Download | None:
        """Return what the address gave last, or None."""
        self._database.ensure(SCHEMA)
        rows = self._database.execute(
            "SELECT digest, etag, modified FROM downloads_2 WHERE url = ?", (url,)
        )
        for digest, etag, modified in rows:
            return Download(
                url=url, digest=Digest(str(digest)), etag=str(etag), modified=str(modified)
            )
        return None

    def all(self) -> tuple[Download, ...]:
        """Return all that is known, by address."""
        self._database.ensure(SCHEMA)
        rows = self._database.execute(
            "SELECT url, digest, etag, modified FROM downloads_2 ORDER BY url"
        )
        return tuple(
            Download(
                url=str(url), digest=Digest(str(digest)), etag=str(etag), modified=str(modified)
            )
            for url, digest, etag, modified in rows
        )

    def forget(self, url: str) -> None:
        """Forget what an address gave; its blob is left to `store.gc`."""
        self._database.ensure(SCHEMA)
        self._database.execute("DELETE FROM downloads_2 WHERE url = ?", (url,))

    def add(self, download: Download) -> None:
        """Remember a file in place of what its address gave before."""
        self._database.ensure(SCHEMA)
        self._database.execute(
            "INSERT OR REPLACE INTO downloads_2 VALUES (?, ?, ?, ?)",
            (download.url, download.digest, download.etag, download.modified),
        )
