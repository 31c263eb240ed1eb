"""Archives in pieces: what is sent, what is read again, and what a place has lost."""

from __future__ import annotations

import gzip
import random
from collections.abc import Callable

import pytest

from polyarch.digest import DiffID, Digest, sha256
from polyarch.errors import IntegrityError, InvalidLayer, NotFound, RegistryError
from polyarch.images.piecereader import PiecedPlace
from polyarch.images.pieces import PieceList, compression_of, find_pieces, tag_of
from polyarch.images.piecewriter import put_pieces
from polyarch.images.place import OnBytes, Source
from polyarch.layer.compress import compressing
from polyarch.layer.frames import Framer, decompress_piece
from polyarch.layer.kinds import Compression
from polyarch.layer.tar import Sink
from polyarch.oci import media
from polyarch.oci.descriptor import Descriptor
from tests.support.fakes.places import MemoryPlace

DATA = random.Random(1).randbytes(3 << 20)
DIFF = DiffID(sha256(DATA))


def producing(data: bytes) -> Callable[[Sink], None]:
    def produce(sink: Sink) -> None:
        for start in range(0, len(data), 100_000):
            sink.write(data[start : start + 100_000])

    return produce


def put(place: MemoryPlace, data: bytes) -> tuple[PieceList, int]:
    """Put an archive; return it and the bytes that were sent."""
    sent: list[int] = []
    made = put_pieces(
        place, ["layer-x"], producing(data), size=len(data), hint="last-op", on_bytes=sent.append
    )
    return made, sum(sent)


def read(place: MemoryPlace, blob: Descriptor) -> bytes:
    return b"".join(PiecedPlace(place=place).open_blob(blob).chunks())


def archive(digest: str = DIFF) -> Descriptor:
    return Descriptor(media_type=media.OCI_LAYER, digest=Digest(digest), size=len(DATA))


def test_an_archive_is_put_together_again() -> None:
    place = MemoryPlace()
    made, sent = put(place, DATA)

    assert (made.diff_id, made.size) == (DIFF, len(DATA))
    assert len(made.pieces) > 4
    assert sent >= len(DATA)
    assert set(place.tags) == {"layer-x", "last-op", tag_of("layer", DIFF)}
    assert find_pieces(place, "layer-x") == made
    assert read(place, archive()) == DATA
    assert PiecedPlace(place=place).holds(archive())
    assert not PiecedPlace(place=place).holds(archive(sha256(b"")))


def test_bytes_are_counted_while_they_are_sent_and_once() -> None:
    class Slow(MemoryPlace):
        """Tells of each half, and breaks off once."""

        def take_blob(self, blob: Descriptor, source: Source, on_bytes: OnBytes) -> None:
            on_bytes(0)
            for done in (blob.size // 4, blob.size // 2, blob.size // 4):
                next(source.open_blob(blob).chunks())
                on_bytes(done)
            super().take_blob(blob, source, on_bytes)

    told: list[int] = []
    made = put_pieces(
        Slow(), [], producing(DATA), size=len(DATA), hint="last-op", on_bytes=told.append
    )

    size = made.packs[0].size
    assert told == [size // 4, size // 2 - size // 4, size - size // 2]


def test_a_digest_that_is_known_is_not_computed_again() -> None:
    place, other = MemoryPlace(), DiffID(sha256(b"other"))
    put(place, DATA)
    document = dict(place.tags)

    for known in (DIFF, other):
        made = put_pieces(
            place,
            ["layer-x"],
            producing(DATA),
            size=len(DATA),
            hint="last-op",
            on_bytes=lambda _size: None,
            diff_id=known,
        )
        assert (made.diff_id, made.size) == (known, len(DATA))
        assert (place.tags["layer-x"] == document["layer-x"]) is (known == DIFF)


def test_a_little_change_sends_little() -> None:
    place = MemoryPlace()
    put(place, DATA)
    place.asked.clear()
    changed = b"more" + DATA[: 1 << 20] + b"!" + DATA[1 << 20 :]

    made, sent = put(place, changed)

    assert sent < len(DATA) / 2
    # What the older archive says is there isn't asked for: one pack is sent, and the list.
    assert len(made.packs) == 2
    assert sum(each.startswith("take") for each in place.asked) == 2
    assert read(place, archive(made.diff_id)) == changed


def test_pieces_that_a_registry_has_lost_are_sent_again() -> None:
    place = MemoryPlace()
    made, _ = put(place, DATA)
    lost = made.packs[0].digest
    del place.blobs[lost]

    def refuse(request: str) -> None:
        if request.startswith("tag") and lost not in place.blobs:
            raise RegistryError("blob unknown", status=404)

    place.before = refuse
    _, sent = put(place, DATA)

    assert sent == made.packs[0].size
    assert read(place, archive()) == DATA


def test_a_registry_that_refuses_is_believed() -> None:
    place = MemoryPlace()
    put(place, DATA)

    def refuse(request: str) -> None:
        if request.startswith("tag"):
            raise RegistryError("denied", status=403)

    place.before = refuse
    with pytest.raises(RegistryError, match="denied"):
        put(place, DATA)


@pytest.mark.parametrize(
    ("media_type", "kind"),
    [(media.OCI_LAYER_GZIP, Compression.GZIP), (media.OCI_LAYER_ZSTD, Compression.ZSTD)],
)
def test_a_compressed_layer_is_made_anew(media_type: str, kind: Compression) -> None:
    place = MemoryPlace()
    made = b"".join(compressing([DATA], kind))
    blob = Descriptor(media_type=media_type, digest=sha256(made), size=len(made))
    put_pieces(
        place,
        [tag_of("layer", blob.digest)],
        producing(DATA),
        size=len(DATA),
        hint="last-op",
        on_bytes=lambda _size: None,
    )

    assert read(place, blob) == made
    assert compression_of(media_type) == compression_of(media_type) != ""


def test_what_is_not_there_or_not_right() -> None:
    place = MemoryPlace()
    with pytest.raises(NotFound, match="in pieces"):
        PiecedPlace(place=place).open_blob(archive())
    made, _ = put(place, DATA)
    place.blobs[made.packs[0].digest] = b"other"
    with pytest.raises(IntegrityError):
        read(place, archive())


def test_a_piece_that_would_be_too_large_is_refused() -> None:
    frame = Framer().frame(bytes(1 << 20))

    assert decompress_piece(frame, 1 << 20) == bytes(1 << 20)
    with pytest.raises(InvalidLayer, match="more than"):
        decompress_piece(frame, 1 << 10)
    with pytest.raises(InvalidLayer, match="damaged"):
        decompress_piece(gzip.compress(b""), 10)
