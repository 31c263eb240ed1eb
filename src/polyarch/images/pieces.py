"""Archives in pieces at a registry or in a layout: large ones, of which mostly a little changes.

An archive is cut where its content says (`layer/cutting.py`). Each piece is compressed, and those that are new are put
one behind the other into *packs* of 16 MiB, which are blobs: pieces can be small without a request for each. A
manifest lists the packs, and its config what is where in them; its tag is made of what the archive is called by. To any
registry it is an image with many layers. Which pieces are there already is said by an older archive, which is believed
until the registry refuses the manifest, for which it looks at all that is in it.

As a place of images it gives the blobs of layers that lie there in pieces: compressed anew, if they are asked for by
the digest of their compressed form. That is the same only where the same library compresses, which
`compression_of` tells; a step that reads a layer asks for the archive, by its diff ID.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from functools import cache, partial

from polyarch.digest import DiffID, Digest, parse_digest, sha256
from polyarch.errors import IntegrityError, NotFound, RegistryError
from polyarch.golang.json import compact
from polyarch.images.place import BlobReader, OnBytes, Place, Source, Unlinked, read_blob
from polyarch.layer.compress import compressing
from polyarch.layer.cutting import COARSE, FINE, Cutter
from polyarch.layer.frames import Framer, decompress_piece
from polyarch.layer.hashing import HashingSink
from polyarch.layer.kinds import Compression
from polyarch.layer.pipes import InOrder
from polyarch.layer.tar import Sink
from polyarch.oci import media
from polyarch.oci.base import PIECES
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.fields import read_document
from polyarch.oci.manifest import parse_manifest
from polyarch.record import frozen

__all__ = [
    "Memory",
    "Piece",
    "PieceList",
    "PiecedPlace",
    "compression_of",
    "find_pieces",
    "put_document",
    "put_pieces",
    "tag_of",
]

_FIELD = "polyarch.pieces"
_KINDS = {
    media.OCI_LAYER_GZIP: Compression.GZIP,
    media.OCI_LAYER_ZSTD: Compression.ZSTD,
}
_SENT_AT_ONCE = 3
_FETCHED_AT_ONCE = 3
_PACK = 16 << 20
"""Bytes from which on a pack is full. A registry makes some files for each blob and has them written to its disk, which
takes it as long as 2 MiB more of a blob."""
_BATCH = 1 << 20
_MOST_OF_PIECE = 16 << 20
_MOST_OF_PACK = 32 << 20
_MOST_OF_LIST = 64 << 20
_KEPT = 80 << 20
"""Bytes of packs in memory while an archive is read, beside those that are fetched ahead: as many as may come at once,
and some to come back to."""
_AHEAD = 2
"""Packs that are fetched beside the one that is wanted, and that are sent beside the one that is waited for."""
_RAW = 32
"""Digits of a digest by which a piece is told from others."""
_COARSE_FROM = 2 << 30
"""Bytes of an archive from which on it is cut into larger pieces: a manifest mustn't have too many."""


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


def compression_of(media_type: str) -> str:
    """Return a name for what is made here of an archive, by default, for a layer of this type: equal names, equal bytes."""
    return _compression_here(_KINDS.get(media_type, Compression.UNCOMPRESSED))


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


def put_pieces(
    place: Place,
    tags: Sequence[str],
    produce: Callable[[Sink], object],
    *,
    size: int,
    hint: str,
    on_bytes: OnBytes,
    diff_id: DiffID | None = None,
) -> PieceList:
    """Put what `produce` writes to a place in pieces, under all `tags`, unless it is there.

    `size` is about how large it is; `hint` is a tag under which the latest archive of its kind is found, and this one
    afterwards. `diff_id` is the digest of the archive, if it is known already: then it isn't hashed as a whole once
    more, and whoever reads it finds out if it is another one. `on_bytes` is told of bytes that were sent, from several threads. Raises RegistryError, StoreError, and
    what `produce` raises.
    """
    older = find_pieces(place, hint)
    sender = _Sender(place, older.known if older else {}, on_bytes)
    try:
        return sender.put((*tags, hint), produce, size, diff_id)
    except RegistryError as error:
        if older is None or error.temporary or error.status not in {400, 404}:
            raise
        # What the older archive had isn't there any more.
        return _Sender(place, {}, on_bytes).put((*tags, hint), produce, size, diff_id)


@frozen
class _Cut:
    """A piece that was cut: compressed, unless it is known."""

    raw: str
    size: int
    frame: bytes = b""


@frozen
class _Spot:
    """Where a new piece is, before its pack has a digest: the number of the pack, and where in it."""

    pack: int
    start: int
    length: int


class _Batches:
    """Hands pieces on by the megabyte: one by one, threads would mostly wake each other."""

    def __init__(self, emit: Callable[[Sequence[memoryview]], object]) -> None:
        self._emit = emit
        self._pieces: list[memoryview] = []
        self._size = 0

    def add(self, piece: memoryview) -> None:
        """Take a piece."""
        self._pieces.append(piece)
        self._size += len(piece)
        if self._size >= _BATCH:
            self.finish()

    def finish(self) -> None:
        """Hand on what is left."""
        pieces, self._pieces, self._size = self._pieces, [], 0
        if pieces:
            self._emit(pieces)


class _Sender:
    """Sends what is new of an archive; `known` are pieces that are there."""

    def __init__(self, place: Place, known: Mapping[str, Piece], on_bytes: OnBytes) -> None:
        self._place = place
        self._known = known
        self._on_bytes = on_bytes
        self._packs: list[Descriptor] = []
        self._pack: list[bytes] = []
        self._pack_size = 0
        self._full = 0
        self._cuts: list[_Cut] = []
        self._new: dict[str, _Spot] = {}

    def put(
        self,
        tags: Sequence[str],
        produce: Callable[[Sink], object],
        size: int,
        known: DiffID | None,
    ) -> PieceList:
        """Send the pieces, and what lists them."""
        sending: InOrder[Descriptor] = InOrder(
            self._packs.append, threads=_SENT_AT_ONCE, most=_AHEAD
        )
        cutting: InOrder[list[_Cut]] = InOrder(lambda cuts: self._take(cuts, sending))
        batches = _Batches(lambda pieces: cutting.add(partial(self._cut, pieces)))
        with sending, cutting:
            cutter = Cutter(COARSE if size > _COARSE_FROM else FINE, batches.add)
            if known is None:
                diff_id = _hashed(cutter, produce)
            else:
                diff_id = known
                produce(cutter)
            cutter.finish()
            batches.finish()
            cutting.finish()
            self._send(sending)
            sending.finish()
        total = sum(cut.size for cut in self._cuts)
        made = PieceList(diff_id=diff_id, size=total, pieces=tuple(map(self._piece, self._cuts)))
        put_document(self._place, (*tags, tag_of("layer", diff_id)), _document(made), made.packs)
        return made

    def _cut(self, pieces: Sequence[memoryview]) -> list[_Cut]:
        framer = Framer()
        return [self._cut_one(each, framer) for each in pieces]

    def _cut_one(self, data: memoryview, framer: Framer) -> _Cut:
        raw = hashlib.sha256(data).hexdigest()[:_RAW]
        is_known = raw in self._known or raw in self._new
        return _Cut(raw=raw, size=len(data), frame=b"" if is_known else framer.frame(data))

    def _take(self, cuts: Iterable[_Cut], sending: InOrder[Descriptor]) -> None:
        for cut in cuts:
            self._cuts.append(_Cut(raw=cut.raw, size=cut.size))
            if cut.raw in self._known or cut.raw in self._new:
                continue
            if self._pack_size >= _PACK:
                self._send(sending)
            self._new[cut.raw] = _Spot(
                pack=self._full, start=self._pack_size, length=len(cut.frame)
            )
            self._pack.append(cut.frame)
            self._pack_size += len(cut.frame)

    def _send(self, sending: InOrder[Descriptor]) -> None:
        """Have the pack that is full, or the last one, sent; the next one begins empty."""
        if self._pack:
            frames = tuple(self._pack)
            self._pack.clear()
            self._pack_size = 0
            self._full += 1
            sending.add(lambda: self._upload(frames))

    def _upload(self, frames: Sequence[bytes]) -> Descriptor:
        made = hashlib.sha256(usedforsecurity=False)
        for frame in frames:
            made.update(frame)
        blob = Descriptor(
            media_type=media.OCI_LAYER_ZSTD,
            digest=Digest(f"sha256:{made.hexdigest()}"),
            size=sum(map(len, frames)),
        )
        memory = Memory(*frames)
        told = 0

        def tell(done: int) -> None:
            nonlocal told
            if memory.is_read and done > told:
                self._on_bytes(done - told)
                told = done

        self._place.take_blob(blob, memory, tell)
        return blob

    def _piece(self, cut: _Cut) -> Piece:
        if cut.raw in self._known:
            return self._known[cut.raw]
        spot = self._new[cut.raw]
        return Piece(
            pack=self._packs[spot.pack],
            start=spot.start,
            length=spot.length,
            raw=cut.raw,
            size=cut.size,
        )


def _hashed(sink: Sink, produce: Callable[[Sink], object]) -> DiffID:
    """Have an archive written to a sink; return its digest."""
    with HashingSink(sink) as archive:
        produce(archive)
        return DiffID(archive.digest)


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
        kind = _KINDS.get(blob.media_type, Compression.UNCOMPRESSED)
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
