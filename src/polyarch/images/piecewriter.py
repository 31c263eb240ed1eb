"""Puts archives in pieces at a registry or into a layout (`images/pieces.py`).

Which pieces are there already is said by an older archive, which is believed until the registry refuses the manifest,
for which it looks at all that is in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

from polyarch.digest import DiffID, Digest
from polyarch.errors import RegistryError
from polyarch.images.pieces import Memory, Piece, PieceList, find_pieces, put_list, tag_of
from polyarch.images.place import OnBytes, Place
from polyarch.layer.cutting import COARSE, FINE, Cutter
from polyarch.layer.frames import Framer
from polyarch.layer.hashing import HashingSink
from polyarch.layer.pipes import InOrder
from polyarch.layer.tar import Sink
from polyarch.oci import media
from polyarch.oci.descriptor import Descriptor
from polyarch.record import frozen

__all__ = ["put_pieces"]

_SENT_AT_ONCE = 3
_AHEAD = 2
"""Packs that are sent beside the one that is waited for."""
_PACK = 16 << 20
"""Bytes from which on a pack is full. A registry makes some files for each blob and has them written to its disk, which
takes it as long as 2 MiB more of a blob."""
_BATCH = 1 << 20
_RAW = 32
"""Digits of a digest by which a piece is told from others."""
_COARSE_FROM = 2 << 30
"""Bytes of an archive from which on it is cut into larger pieces: a manifest mustn't have too many."""


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
        put_list(self._place, (*tags, tag_of("layer", diff_id)), made)
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
