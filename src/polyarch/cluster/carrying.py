"""Archives from a client to its workers and back: in pieces through a registry, or whole through Dask.

In pieces only those travel that the registry doesn't have from the last time (`images/pieces.py`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from io import BytesIO

from polyarch.caches.objects import ChunkFile
from polyarch.cluster.wire import Sent
from polyarch.digest import DiffID, Digest, parse_digest
from polyarch.errors import InputError, IntegrityError
from polyarch.images.piecereader import PiecedPlace
from polyarch.images.piecewriter import put_pieces
from polyarch.images.place import OnBytes
from polyarch.images.places import open_places
from polyarch.layer.frames import Framer, decompress_piece
from polyarch.layer.hashing import HashingSource
from polyarch.layer.tar import Sink
from polyarch.layer.tarread import Source
from polyarch.oci import media
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.reference import Reference
from polyarch.progress import CancelToken

__all__ = ["LIMIT", "TooLarge", "read_archive", "send_pieces", "send_whole"]

LIMIT = 64 << 20
"""Bytes of an archive up to which it may go through Dask, which keeps it in the memory of its scheduler."""

Produce = Callable[[Sink], object]


class TooLarge(InputError):
    """An archive is too large for the way that it would have to go."""


class _Limited:
    """A sink that keeps what it is given, up to a limit."""

    def __init__(self, limit: int, what: str) -> None:
        self.data = bytearray()
        self._limit = limit
        self._what = what

    def write(self, data: bytes) -> None:
        self.data += data
        if len(self.data) > self._limit:
            raise TooLarge(
                f"{self._what} has more than {self._limit >> 20} MiB, which is too much for Dask to carry",
                hint="have it go through a registry: polyarch create --driver dask --driver-opt transfer=REPOSITORY",
            )


def send_whole(produce: Produce, what: str, limit: int = LIMIT) -> tuple[Sent, bytes]:
    """Pack an archive to go along with a task. Raises TooLarge, naming `what` it is, and what `produce` raises."""
    kept = _Limited(limit, what)
    produce(kept)
    digest = Digest(f"sha256:{hashlib.sha256(kept.data).hexdigest()}")
    return Sent(digest=DiffID(digest), size=len(kept.data)), Framer().frame(bytes(kept.data))


def send_pieces(
    produce: Produce,
    size: int,
    repository: Reference,
    *,
    latest: str,
    environ: Mapping[str, str],
    cancel: CancelToken,
    on_bytes: OnBytes,
) -> Sent:
    """Send an archive of about `size` bytes to a repository, and return where it is.

    `latest` tells apart what has other latest pieces: a directory, say. Raises RegistryError, and what `produce` raises.
    """
    hint = f"latest-{hashlib.sha256(latest.encode()).hexdigest()[:32]}"
    with open_places(environ, cancel) as places:
        place = places.repository(repository)
        made = put_pieces(place, (), produce, size=size, hint=hint, on_bytes=on_bytes)
    return Sent(digest=made.diff_id, size=made.size, place=repository.repository)


def read_archive(
    sent: Sent,
    data: bytes,
    take: Callable[[Source], None],
    *,
    environ: Mapping[str, str],
    cancel: CancelToken,
) -> None:
    """Have `take` read an archive, which came along as `data` or is fetched. Raises IntegrityError, RegistryError."""
    if not sent.place:
        _read(BytesIO(decompress_piece(data, sent.size)), sent, take)
        return
    with open_places(environ, cancel) as places:
        place = PiecedPlace(place=places.at(sent.place))
        blob = Descriptor(media_type=media.OCI_LAYER, digest=Digest(sent.digest), size=sent.size)
        chunks = place.open_blob(blob).chunks()
        try:
            _read(ChunkFile(chunks), sent, take)
        finally:
            chunks.close()


def _read(source: Source, sent: Sent, take: Callable[[Source], None]) -> None:
    with HashingSource(source) as hashed:
        take(hashed)
        while hashed.read(1 << 20):
            pass
        found = hashed.digest
    if found != parse_digest(sent.digest):
        raise IntegrityError(f"an archive of a build context is {found}, not {sent.digest}")
