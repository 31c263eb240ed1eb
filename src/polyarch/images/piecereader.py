"""Reads archives in pieces at a registry or in a layout (`images/pieces.py`), as a place of images.

It gives the blobs of layers that lie there in pieces: compressed anew, if they are asked for by the digest of their
compressed form. That is the same only where the same library compresses, which `compression_of` tells; a step that reads a
layer asks for the archive, by its diff ID.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from functools import partial

from polyarch.digest import Digest
from polyarch.errors import NotFound
from polyarch.images.pieces import Piece, PieceList, find_pieces, kind_of, tag_of
from polyarch.images.place import BlobReader, OnBytes, Place, Source, Unlinked, read_blob
from polyarch.layer.compress import compressing
from polyarch.layer.frames import decompress_piece
from polyarch.layer.kinds import Compression
from polyarch.layer.pipes import InOrder
from polyarch.oci.base import PIECES
from polyarch.oci.descriptor import Descriptor
from polyarch.record import frozen

__all__ = ["PiecedPlace"]

_FETCHED_AT_ONCE = 3
_MOST_OF_PIECE = 16 << 20
_MOST_OF_PACK = 32 << 20
_KEPT = 80 << 20
"""Bytes of packs in memory while an archive is read, beside those that are fetched ahead: as many as may come at once,
and some to come back to."""
_AHEAD = 2
"""Packs that are fetched beside the one that is wanted."""


class _Packs:
    """The packs that were fetched last."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._kept: dict[Digest, bytes] = {}
        self._size = 0

    def fetch(self, pack: Descriptor) -> tuple[Digest, bytes]:
        """Return a pack, with its digest. Raises NotFound, RemoteError, IntegrityError."""
        return pack.digest, read_blob(self._place, pack, _MOST_OF_PACK)

    def keep(self, fetched: tuple[Digest, bytes]) -> None:
        """Keep what was fetched in place of what was used longest ago."""
        digest, data = fetched
        self._kept[digest] = data
        self._size += len(data)
        while self._size > _KEPT and len(self._kept) > 1:
            self._size -= len(self._kept.pop(next(iter(self._kept))))

    def has(self, pack: Descriptor) -> bool:
        """Return whether a pack is kept."""
        return pack.digest in self._kept

    def piece(self, piece: Piece) -> bytes:
        """Return a piece of a pack that is kept. Raises InvalidLayer."""
        pack = self._kept[piece.pack.digest] = self._kept.pop(piece.pack.digest)
        frame = memoryview(pack)[piece.start : piece.start + piece.length]
        return decompress_piece(frame, _MOST_OF_PIECE)


@frozen
class PiecedPlace(Unlinked):
    """A place where layers lie in pieces, to be read as if they lay there whole."""

    place: Place

    @property
    def name(self) -> str:
        """The address."""
        return f"{PIECES}{self.place.name}"

    def open_blob(self, blob: Descriptor) -> BlobReader:
        """Return a blob to be read: an archive, or a compressed one. Raises NotFound, RegistryError."""
        found = self._list(blob.digest)
        is_archive = blob.digest == Digest(found.diff_id)
        kind = kind_of(blob.media_type)
        return BlobReader(
            chunks=lambda: self._chunks(found, Compression.UNCOMPRESSED if is_archive else kind)
        )

    def _chunks(self, found: PieceList, kind: Compression) -> Generator[bytes, None, None]:
        yield from compressing(self._read(found), kind)

    def _list(self, digest: Digest) -> PieceList:
        found = find_pieces(self.place, tag_of("layer", digest))
        if found is None:
            raise NotFound(f"{self.place.name} doesn't have {digest} in pieces")
        return found

    def _read(self, found: PieceList) -> Iterator[bytes]:
        """Give the pieces; packs are fetched ahead, in the order in which they are first needed."""
        packs = _Packs(self.place)
        with InOrder(packs.keep, threads=_FETCHED_AT_ONCE, most=_AHEAD) as work:
            ahead = iter(found.packs)
            for piece in found.pieces:
                while not packs.has(piece.pack) and (following := next(ahead, None)):
                    work.add(partial(packs.fetch, following))
                if not packs.has(piece.pack):
                    work.finish()
                if not packs.has(piece.pack):  # it was kept, and has made way for others
                    packs.keep(packs.fetch(piece.pack))
                yield packs.piece(piece)

    def holds(self, blob: Descriptor) -> bool:
        """Return whether a layer is here. Raises RegistryError, IntegrityError."""
        return find_pieces(self.place, tag_of("layer", blob.digest)) is not None

    def load(self, target: str) -> tuple[Descriptor, bytes]:
        """Return what the place itself has."""
        return self.place.load(target)

    def manifest(self, descriptor: Descriptor) -> bytes:
        """Return what the place itself has."""
        return self.place.manifest(descriptor)

    def take_blob(self, blob: Descriptor, source: Source, on_bytes: OnBytes) -> None:
        """Have the place itself take it."""
        self.place.take_blob(blob, source, on_bytes)

    def put_manifest(self, descriptor: Descriptor, data: bytes, subject: Digest | None) -> None:
        """Have the place itself keep it."""
        self.place.put_manifest(descriptor, data, subject)

    def tag(self, tag: str, descriptor: Descriptor, data: bytes) -> None:
        """Have the place itself keep it."""
        self.place.tag(tag, descriptor, data)
