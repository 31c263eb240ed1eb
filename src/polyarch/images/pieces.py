"""Archives in pieces at a registry or in a layout: large ones, of which mostly a little changes.

An archive is cut where its content says (`layer/cutting.py`). Each piece is compressed, and those that are new are put
one behind the other into *packs* of 16 MiB, which are blobs: pieces can be small without a request for each. A
manifest lists the packs, and its config what is where in them; its tag is made of what the archive is called by. To any
registry it is an image with many layers.

`images/piecewriter.py` puts archives there, `images/piecereader.py` reads them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Iterable, Mapping, Sequence
from functools import cache

from polyarch.digest import DiffID, Digest, parse_digest, sha256
from polyarch.errors import IntegrityError, NotFound
from polyarch.golang.json import compact
from polyarch.images.place import BlobReader, Place, read_blob
from polyarch.layer.compress import compressing
from polyarch.layer.kinds import Compression
from polyarch.oci import media
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.fields import read_document
from polyarch.oci.manifest import parse_manifest
from polyarch.record import frozen

__all__ = [
    "Memory",
    "Piece",
    "PieceList",
    "compression_of",
    "find_pieces",
    "kind_of",
    "put_document",
    "put_list",
    "tag_of",
]

_FIELD = "polyarch.pieces"
_KINDS = {
    media.OCI_LAYER_GZIP: Compression.GZIP,
    media.OCI_LAYER_ZSTD: Compression.ZSTD,
}
_MOST_OF_LIST = 64 << 20


@frozen
class Piece:
    """A piece: in which pack it is, and where; what it is uncompressed (the beginning of a digest; bytes)."""

    pack: Descriptor
    start: int
    length: int
    raw: str
    size: int


@frozen
class PieceList:
    """An archive in pieces, in their order; `size` is that of the archive."""

    diff_id: DiffID
    size: int
    pieces: tuple[Piece, ...]

    @property
    def known(self) -> Mapping[str, Piece]:
        """The pieces by what they are."""
        return {piece.raw: piece for piece in self.pieces}

    @property
    def packs(self) -> tuple[Descriptor, ...]:
        """The packs, each once, as they are first needed."""
        return tuple({piece.pack.digest: piece.pack for piece in self.pieces}.values())


class Memory:
    """A blob in memory, in one part or several, as the source of a copy."""

    def __init__(self, *parts: bytes) -> None:
        self._parts = parts
        self.name = "memory"
        self.is_read = False

    def manifest(self, descriptor: Descriptor) -> bytes:
        """Raise NotFound."""
        raise NotFound(f"{descriptor.digest} is no manifest")

    def open_blob(self, _blob: Descriptor) -> BlobReader:
        """Return the one blob that there is."""
        return BlobReader(chunks=self._chunks)

    def _chunks(self) -> Generator[bytes, None, None]:
        self.is_read = True
        yield from self._parts

    def origins(self, _digest: Digest) -> Iterable[str]:
        """Give nothing."""
        return ()

    def referrers(self, _subject: Digest) -> tuple[Descriptor, ...]:
        """Return nothing."""
        return ()


def kind_of(media_type: str) -> Compression:
    """Return how a layer of a media type is compressed."""
    return _KINDS.get(media_type, Compression.UNCOMPRESSED)


def compression_of(media_type: str) -> str:
    """Return a name for what is made here of an archive, by default, for a layer of this type: equal names, equal bytes."""
    return _compression_here(kind_of(media_type))


@cache
def _compression_here(kind: Compression) -> str:
    sample = b"".join(hashlib.sha256(b"%d" % number).hexdigest().encode() for number in range(512))
    made = hashlib.sha256(b"".join(compressing([sample], kind))).hexdigest()
    return f"{kind}-{made[:16]}"


def tag_of(kind: str, digest: str) -> str:
    """Return the tag of what is found by a digest."""
    return f"{kind}-{digest.partition(':')[2]}"


def find_pieces(place: Place, tag: str) -> PieceList | None:
    """Return an archive in pieces by its tag, None if there is none. Raises RegistryError, IntegrityError."""
    try:
        _, data = place.load(tag)
    except NotFound:
        return None
    manifest = parse_manifest(data)
    fields = read_document(read_blob(place, manifest.config, _MOST_OF_LIST)).object(_FIELD)
    columns = [fields.numbers(name) for name in ("packs", "starts", "lengths", "sizes")]
    packs = dict(enumerate(manifest.layers))
    try:
        pieces = tuple(
            Piece(pack=packs[pack], start=start, length=length, raw=raw, size=size)
            for raw, pack, start, length, size in zip(fields.texts("raw"), *columns, strict=True)
        )
    except (ValueError, KeyError) as error:
        raise IntegrityError(f"{place.name}:{tag} has other pieces than it says") from error
    return PieceList(
        diff_id=DiffID(parse_digest(fields.text("diffID", required=True))),
        size=fields.number("size", required=True),
        pieces=pieces,
    )


def put_list(place: Place, tags: Iterable[str], made: PieceList) -> None:
    """Put what lists an archive's pieces, whose packs are there, under some tags. Raises RegistryError."""
    put_document(place, tags, _document(made), made.packs)


def _document(made: PieceList) -> Mapping[str, object]:
    numbers = {blob.digest: number for number, blob in enumerate(made.packs)}
    return {
        _FIELD: {
            "diffID": made.diff_id,
            "size": made.size,
            "raw": [piece.raw for piece in made.pieces],
            "packs": [numbers[piece.pack.digest] for piece in made.pieces],
            "starts": [piece.start for piece in made.pieces],
            "lengths": [piece.length for piece in made.pieces],
            "sizes": [piece.size for piece in made.pieces],
        }
    }


def put_document(
    place: Place,
    tags: Iterable[str],
    fields: Mapping[str, object],
    blobs: Sequence[Descriptor],
    annotations: Mapping[str, str] | None = None,
) -> None:
    """Put an image manifest that lists blobs, with a config that has more fields than an image's. Raises RegistryError."""
    usual = {
        "architecture": "unknown",
        "os": "unknown",
        "rootfs": {"type": "layers", "diff_ids": []},
    }
    data = compact({**usual, **fields})
    config = Descriptor(media_type=media.OCI_CONFIG, digest=sha256(data), size=len(data))
    place.take_blob(config, Memory(data), lambda _bytes: None)
    listed: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": media.OCI_MANIFEST,
        "config": config.to_json(),
        "layers": [each.to_json() for each in blobs],
    }
    if annotations:
        listed["annotations"] = dict(annotations)
    document = compact(listed)
    descriptor = Descriptor(
        media_type=media.OCI_MANIFEST, digest=sha256(document), size=len(document)
    )
    for tag in dict.fromkeys(tags):
        place.tag(tag, descriptor, document)
