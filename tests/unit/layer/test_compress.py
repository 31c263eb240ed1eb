import bz2
import gzip
import hashlib
import importlib
import io
import lzma
import threading
import zlib
from collections.abc import Callable

import pytest

from polyarch.errors import InputError, InvalidLayer
from polyarch.layer.compress import Compression, compress, decompressed, detect
from polyarch.layer.hashing import HashingSink
from polyarch.layer.tar import Sink

NOISE = b"".join(hashlib.sha256(str(i).encode()).digest() for i in range(1 << 16))
DATA = NOISE + b"0123456789" * 200_000 + NOISE[:777]
WRITTEN = (Compression.UNCOMPRESSED, Compression.GZIP, Compression.ZSTD)


def packed(
    data: bytes, compression: Compression, level: int | None = None, cut: int = 99_991
) -> bytes:
    out = io.BytesIO()

    def produce(sink: Sink) -> None:
        for start in range(0, len(data), cut):
            sink.write(data[start : start + cut])

    with HashingSink(out) as sink:
        result = compress(produce, sink, compression, level)
    assert result.digest == "sha256:" + hashlib.sha256(out.getvalue()).hexdigest()
    assert result.diff_id == "sha256:" + hashlib.sha256(data).hexdigest()
    assert (result.size, result.uncompressed_size) == (len(out.getvalue()), len(data))
    return out.getvalue()


def unpacked(data: bytes) -> bytes:
    with decompressed(io.BytesIO(data)) as stream:
        return b"".join(iter(lambda: stream.read(70_000), b""))


@pytest.mark.parametrize("compression", WRITTEN)
@pytest.mark.parametrize("size", [0, 1, 1 << 19, (1 << 19) + 1, len(DATA)])
def test_round_trip(compression: Compression, size: int) -> None:
    data = DATA[:size]

    assert unpacked(packed(data, compression)) == data
    assert threading.active_count() == 1


@pytest.mark.parametrize("level", [None, 0, 1, 6, 9])
def test_gzip_is_one_member_that_all_can_read(level: int | None) -> None:
    data = packed(DATA, Compression.GZIP, level)

    assert data[:10] == bytes.fromhex("1f8b08000000000000ff")
    assert gzip.decompress(data) == DATA


@pytest.mark.parametrize("compression", WRITTEN)
def test_bytes_do_not_depend_on_how_they_came(compression: Compression) -> None:
    assert packed(DATA, compression, cut=10_007) == packed(DATA, compression, cut=1 << 22)


def test_gzip_with_a_level_is_zlibs() -> None:
    compressor = zlib.compressobj(6, zlib.DEFLATED, -15)
    data = packed(b"small", Compression.GZIP, 6)

    assert data[10:-8] == compressor.compress(b"small") + compressor.flush()


@pytest.mark.parametrize(
    "make",
    [
        lambda: gzip.compress(DATA) + gzip.compress(b"more"),
        lambda: bz2.compress(DATA) + bz2.compress(b"more"),
        lambda: lzma.compress(DATA, preset=0) + lzma.compress(b"more"),
        lambda: DATA + b"more",
        lambda: gzip.compress(DATA + b"more") + bytes(1000),
    ],
    ids=["gzip", "bzip2", "xz", "plain", "padded"],
)
def test_decompressed_reads_all_members(make: Callable[[], bytes]) -> None:
    assert unpacked(make()) == DATA + b"more"


def test_zstd_frames_and_skippable_frames() -> None:
    zstd = importlib.import_module("backports.zstd")
    skippable = b"\x50\x2a\x4d\x18\x04\0\0\0skip"

    assert unpacked(zstd.compress(b"a") + skippable + zstd.compress(b"b")) == b"ab"


@pytest.mark.parametrize(
    "make",
    [
        lambda: packed(DATA, Compression.GZIP)[:-9],
        lambda: packed(DATA, Compression.GZIP)[:-8] + b"badcrc!!",
        lambda: packed(DATA, Compression.ZSTD)[:-9],
        lambda: bz2.compress(DATA)[:-9],
        lambda: lzma.compress(DATA[:5000])[:-9],
    ],
    ids=["cut gzip", "checksum", "cut zstd", "cut bzip2", "cut xz"],
)
def test_damage_is_found(make: Callable[[], bytes]) -> None:
    data = make()

    with pytest.raises(InvalidLayer, match="data is damaged"):
        unpacked(data)
    assert threading.active_count() == 1


@pytest.mark.parametrize("rest", [b"g", b"\x1f\x8b", b"\0\0garbage" * 99])
@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(DATA[:5000]),
        bz2.compress(DATA[:5000]),
        lzma.compress(DATA[:5000]),
        packed(DATA[:5000], Compression.ZSTD),
    ],
    ids=["gzip", "bzip2", "xz", "zstd"],
)
def test_bytes_behind_the_end_are_called_that(data: bytes, rest: bytes) -> None:
    with pytest.raises(InvalidLayer, match=r"bytes behind the end of the \w+ data"):
        unpacked(data + rest)


def test_a_second_stream_that_is_cut_short_is_called_that() -> None:
    with pytest.raises(InvalidLayer, match="the gzip data is damaged: it is cut short"):
        unpacked(gzip.compress(DATA) + gzip.compress(DATA)[:20])


def test_reading_may_stop_early() -> None:
    with decompressed(io.BytesIO(packed(DATA * 8, Compression.GZIP))) as stream:
        assert stream.read(10) == DATA[:10]
        stream.read(1 << 22)
        stream.read(1 << 22)
    assert threading.active_count() == 1


def test_a_failing_producer_leaves_no_threads() -> None:
    def produce(sink: Sink) -> None:
        sink.write(DATA)
        raise KeyError

    with pytest.raises(KeyError), HashingSink(io.BytesIO()) as out:
        compress(produce, out, Compression.GZIP)
    assert threading.active_count() == 1


def test_a_failing_sink_leaves_no_threads() -> None:
    class Full:
        def write(self, data: bytes, /) -> None:
            if len(data) > 10:
                raise OSError(28, "full")

    with pytest.raises(OSError, match="full"), HashingSink(Full()) as out:
        compress(lambda sink: sink.write(DATA), out, Compression.GZIP)
    assert threading.active_count() == 1


@pytest.mark.parametrize(
    ("compression", "level"),
    [(Compression.GZIP, 10), (Compression.ZSTD, 23), (Compression.XZ, None)],
)
def test_what_can_not_be_written(compression: Compression, level: int | None) -> None:
    with pytest.raises(InputError), HashingSink(io.BytesIO()) as out:
        compress(lambda _: None, out, compression, level)


def test_detect() -> None:
    samples = (gzip.compress(b""), bz2.compress(b""), lzma.compress(b""), b"\x28\xb5\x2f\xfd", b"")

    assert [detect(sample) for sample in samples] == ["gzip", "bzip2", "xz", "zstd", "uncompressed"]
