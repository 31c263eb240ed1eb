"""What is known of layers' blobs: which digests a diff ID has, and where registries have them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence

from polyarch.digest import DiffID, Digest
from polyarch.record import field, frozen, replace
from polyarch.store.database import Database

__all__ = ["SCHEMA", "LayerBlob", "LayerRecords"]

SCHEMA = (
    (
        "CREATE TABLE IF NOT EXISTS layers_1 (digest TEXT PRIMARY KEY, diff_id TEXT NOT NULL,"
        " media_type TEXT NOT NULL, size INTEGER NOT NULL, compression TEXT NOT NULL,"
        " level INTEGER) WITHOUT ROWID"
    ),
    "CREATE INDEX IF NOT EXISTS layers_1_diff_id ON layers_1 (diff_id)",
    (
        "CREATE TABLE IF NOT EXISTS forms_1 (digest TEXT PRIMARY KEY, archive TEXT NOT NULL,"
        " annotations TEXT NOT NULL) WITHOUT ROWID"
    ),
    "CREATE INDEX IF NOT EXISTS forms_1_archive ON forms_1 (archive)",
    (
        "CREATE TABLE IF NOT EXISTS sources_1 (digest TEXT, host TEXT, repository TEXT,"
        " seen REAL NOT NULL, PRIMARY KEY (digest, host, repository)) WITHOUT ROWID"
    ),
)

_SELECT = "SELECT digest, diff_id, media_type, size, compression, level FROM layers_1"
_FORMS = (
    "SELECT digest, diff_id, media_type, size, compression, level, annotations"
    " FROM layers_1 JOIN forms_1 USING (digest) WHERE archive = ? ORDER BY digest"
)
_FRESH = 24 * 3600.0
_FORGOTTEN = 60 * 24 * 3600.0


@frozen
class LayerBlob:
    """One compressed (or plain) form of a layer. The blob itself need not be in the store."""

    digest: Digest
    diff_id: DiffID
    media_type: str
    size: int
    """Bytes, compressed."""
    compression: str
    """`uncompressed`, `gzip`, `estargz` or `zstd`; "" for what came with an image, as it is."""
    level: int | None = None
    """The level that it was asked for with; None for the default, or when another made the blob."""
    annotations: Mapping[str, str] = field(default_factory=dict)
    """What a descriptor of it has to say; known only of what `forms_of` gives."""


class LayerRecords:
    """The layers that were seen. A cache: all of it can be lost."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, *blobs: LayerBlob) -> None:
        """Remember the blobs; a digest that is known already is overwritten."""
        self._database.ensure(SCHEMA)
        self._database.executemany(
            "INSERT OR REPLACE INTO layers_1 VALUES (?, ?, ?, ?, ?, ?)",
            [(b.digest, b.diff_id, b.media_type, b.size, b.compression, b.level) for b in blobs],
        )

    def add_form(self, archive: DiffID, blob: LayerBlob) -> None:
        """Remember a form whose diff ID isn't that of the layer's archive, `archive`, as it adds something."""
        self.add(blob)
        self._database.execute(
            "INSERT OR REPLACE INTO forms_1 VALUES (?, ?, ?)",
            (blob.digest, archive, json.dumps(dict(blob.annotations))),
        )

    def forms_of(self, archive: DiffID) -> tuple[LayerBlob, ...]:
        """Return the forms of a layer that add something to it, by digest."""
        self._database.ensure(SCHEMA)
        return tuple(
            replace(_layer_blob(row), annotations=json.loads(str(annotations)))
            for *row, annotations in self._database.execute(_FORMS, (archive,))
        )

    def find(self, digest: Digest) -> LayerBlob | None:
        """Return what is known of the blob, or None."""
        rows = self._rows(_SELECT + " WHERE digest = ?", digest)
        return rows[0] if rows else None

    def blobs_of(self, diff_id: DiffID) -> tuple[LayerBlob, ...]:
        """Return all known forms of a layer, by digest."""
        return self._rows(_SELECT + " WHERE diff_id = ? ORDER BY digest", diff_id)

    def all(self) -> tuple[LayerBlob, ...]:
        """Return everything known, by digest."""
        return self._rows(_SELECT + " ORDER BY digest")

    def forget(self, digests: Iterable[Digest]) -> None:
        """Forget the blobs, and where registries have them."""
        self._database.ensure(SCHEMA)
        rows = [(digest,) for digest in digests]
        with self._database.transaction():
            self._database.executemany("DELETE FROM layers_1 WHERE digest = ?", rows)
            self._database.executemany("DELETE FROM forms_1 WHERE digest = ?", rows)
            self._database.executemany("DELETE FROM sources_1 WHERE digest = ?", rows)

    def add_sources(self, host: str, repository: str, digests: Iterable[Digest]) -> None:
        """Remember that the registry at `host` has the blobs in `repository`.

        What was remembered today isn't written again, since unchanged builds say it each time; what
        nobody has said for two months is forgotten.
        """
        self._database.ensure(SCHEMA)
        now = time.time()
        known = {
            row[0]
            for row in self._database.execute(
                "SELECT digest FROM sources_1 WHERE host = ? AND repository = ? AND seen > ?",
                (host, repository, now - _FRESH),
            )
        }
        new = [(digest, host, repository, now) for digest in digests if digest not in known]
        if not new:
            return
        with self._database.transaction():
            self._database.execute("DELETE FROM sources_1 WHERE seen < ?", (now - _FORGOTTEN,))
            self._database.executemany("INSERT OR REPLACE INTO sources_1 VALUES (?, ?, ?, ?)", new)

    def sources(self, digest: Digest, host: str) -> tuple[str, ...]:
        """Return the repositories at `host` that had the blob, last seen first."""
        self._database.ensure(SCHEMA)
        rows = self._database.execute(
            "SELECT repository FROM sources_1 WHERE digest = ? AND host = ? ORDER BY seen DESC",
            (digest, host),
        )
        return tuple(str(row[0]) for row in rows)

    def all_sources(self, digest: Digest) -> tuple[tuple[str, str], ...]:
        """Return (host, repository) of every registry that had the blob, last seen first."""
        self._database.ensure(SCHEMA)
        rows = self._database.execute(
            "SELECT host, repository FROM sources_1 WHERE digest = ? ORDER BY seen DESC", (digest,)
        )
        return tuple((str(host), str(repository)) for host, repository in rows)

    def _rows(self, statement: str, *values: str) -> tuple[LayerBlob, ...]:
        self._database.ensure(SCHEMA)
        return tuple(_layer_blob(row) for row in self._database.execute(statement, values))


def _layer_blob(row: Sequence[object]) -> LayerBlob:
    digest, diff_id, media_type, size, compression, level = row
    return LayerBlob(
        digest=Digest(str(digest)),
        diff_id=DiffID(str(diff_id)),
        media_type=str(media_type),
        size=int(str(size)),
        compression=str(compression),
        level=None if level is None else int(str(level)),
    )
