"""Small inputs that ask for a lot: each has a limit that is told, memory stays bounded, and work can be ended.

Sparse maps, extended headers, names and empty streams without an end (CVE-2025-58183 and CVE-2022-2879 of Go,
CVE-2023-25153 of containerd), decompression bombs (CVE-2017-14992 of Docker), directories in directories, files of a
tebibyte of nothing, trees and Dockerfiles that take long. Memory is measured in a child that is allowed no more
than some seconds of a processor.
"""

from __future__ import annotations

import bz2
import gzip
import io
import itertools
import lzma
import os
import resource
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from polyarch.dockerfile.parser import parse
from polyarch.errors import Cancelled, InvalidLayer
from polyarch.graph.location import SourceText
from polyarch.layer.apply import apply, extract
from polyarch.layer.changes import write_layer
from polyarch.layer.compress import Compression, compress, decompressed
from polyarch.layer.hashing import HashingSink
from polyarch.layer.tar import DIRECTORY, Entry, TarWriter, header
from polyarch.layer.tarread import Limits, TarReader
from polyarch.progress import CancelToken, cancellable
from polyarch.worker.tree import SourceTree, hash_file
from polyarch.worker.walk import select
from tests.support.machine.engines import SOURCE
from tests.support.machine.programs import Person
from tests.support.network.plants import Member, plant_image, tar_of
from tests.support.network.registry import serving
from tests.support.network.servers import RealRegistry

MEBI = 1 << 20
_PROCESSOR = 60
_MEMORY = 150 * MEBI
CHILD = """
import resource, sys
from pathlib import Path
from polyarch.errors import PolyarchError
from polyarch.layer.apply import apply
from polyarch.layer.compress import decompressed
apply(open("/dev/null", "rb"), Path(sys.argv[2]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    with open(sys.argv[1], "rb") as stream, decompressed(stream) as tar:
        apply(tar, Path(sys.argv[2]))
    print("fine")
except PolyarchError as error:
    print(error)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def record(key: str, value: bytes) -> bytes:
    text = key.encode() + b"=" + value + b"\n"
    size = len(text) + 2
    while len(b"%d " % size) + len(text) != size:
        size += 1
    return b"%d %s" % (size, text)


def extension(kind: str, body: bytes) -> bytes:
    return header(Entry(name="x", kind=kind, size=len(body))) + body + bytes(-len(body) % 512)


def old_sparse(more: bytes, count: int) -> bytes:
    block = bytearray(header(Entry(name="s", kind="S")))
    block[482], block[483:494] = 1, b"7" * 11
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block) + (more.ljust(504, b"\0") + b"\1" + bytes(7)) * count + bytes(512)


def sparse_map(count: int) -> bytes:
    told = record("GNU.sparse.major", b"1") + record("GNU.sparse.realsize", b"99999999")
    text = b"%d\n" % count + b"0\n0\n" * count
    text += bytes(-len(text) % 512)
    return extension("x", told) + header(Entry(name="s", size=len(text))) + text


def many_directories() -> bytes:
    names = [header(Entry(name=f"d{number}", kind=DIRECTORY)) for number in range(8000)]
    return b"".join(names) + header(Entry(name="x", kind=DIRECTORY)) * 2


BOMBS: dict[str, tuple[Callable[[], bytes], str]] = {
    "a sparse map in data": (lambda: sparse_map(2_000_000), "may have 262144 parts"),
    "a sparse map that is wide": (
        lambda: (
            extension("x", record("GNU.sparse.major", b"1") + record("GNU.sparse.realsize", b"9"))
            + header(Entry(name="s", size=1 << 30))
            + b"1\n"
            + b"0" * (2 * MEBI)
        ),
        "no number|too long",
    ),
    "sparse maps in records": (
        lambda: (
            (
                extension(
                    "x",
                    record("GNU.sparse.realsize", b"9")
                    + record("GNU.sparse.map", b"0,0," * 200_000 + b"0,0"),
                )
                + header(Entry(name="s"))
            )
            * 20
        ),
        "may have 262144 parts",
    ),
    "old sparse maps": (lambda: old_sparse(b"0" * 504, 18_500), "no number|parts|order"),
    "old sparse maps of nothing": (lambda: old_sparse(b"", 600_000), "may have 262144 parts"),
    "global headers": (
        lambda: (
            b"".join(
                extension("g", b"".join(record(f"{number + at}", b"") for number in range(60_000)))
                for at in range(0, 300_000, 60_000)
            )
            + header(Entry(name="f")) * 50
        ),
        "fine",
    ),
    "a large header": (lambda: extension("x", record("a", bytes(MEBI))), "too large"),
    "many headers": (lambda: extension("x", b"") * 200_000, "too large"),
    "a header before each entry": (
        lambda: (extension("x", record("a", bytes(90_000))) + header(Entry(name="f"))) * 400,
        "or those of the archive, are too large",
    ),
    "a long name": (lambda: extension("L", b"a" * 900_000) + header(Entry(name="f")), "4095 bytes"),
    "a long link": (lambda: extension("K", b"a" * 900_000) + header(Entry(name="f")), "4095 bytes"),
    "a deep name": (lambda: header(Entry(name="a/" * 1500 + "f")), "more than 400 directories"),
    "a file of nothing": (
        lambda: (
            extension(
                "x",
                record("GNU.sparse.realsize", b"%d" % (1 << 40)) + record("GNU.sparse.map", b"0,0"),
            )
            + header(Entry(name="s"))
        ),
        "may unpack to 256 GiB",
    ),
    "a file of a tebibyte": (
        lambda: header(Entry(name="f", size=1 << 40)),
        "may unpack to 256 GiB",
    ),
    "files of a tebibyte together": (
        lambda: b"".join(
            extension(
                "x",
                record("GNU.sparse.realsize", b"%d" % (1 << 36)) + record("GNU.sparse.map", b"0,0"),
            )
            + header(Entry(name=f"s{number}"))
            for number in range(16)
        ),
        "may unpack to 256 GiB",
    ),
    "directories that are replaced": (
        lambda: (
            many_directories()
            + (header(Entry(name="x", kind=DIRECTORY)) + header(Entry(name="x"))) * 2000
        ),
        "fine",
    ),
    "links in a circle": (
        lambda: header(Entry(name="l", kind="2", link="l")) + header(Entry(name="l/f")),
        "too many symbolic links",
    ),
    "zeros": (lambda: header(Entry(name="f")) + bytes(200 * MEBI), "fine"),
}


def unpack_in_child(data: bytes, directory: Path) -> str:
    """Unpack in a process of its own; return what came of it. Fails if it took a lot."""
    archive, root = directory / "bomb", directory / "root"
    archive.write_bytes(data)
    root.mkdir()
    ended = subprocess.run(
        [sys.executable, "-c", CHILD, archive, root],
        env={"PYTHONPATH": f"{SOURCE}:{':'.join(sys.path)}"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (_PROCESSOR, _PROCESSOR)),
        capture_output=True,
        check=False,
        text=True,
    )
    assert ended.returncode == 0, ended.stderr
    said, memory = ended.stdout.rsplit("\n", 2)[:2]
    assert int(memory) << 10 < _MEMORY
    return said


@pytest.mark.parametrize("case", BOMBS)
def test_archives_that_ask_for_a_lot(tmp_path: Path, case: str) -> None:
    make, message = BOMBS[case]
    data = gzip.compress(make(), 1)

    assert len(data) < 30 * MEBI
    said = unpack_in_child(data, tmp_path)
    assert any(each in said for each in message.split("|")), said


STREAMS: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty members of gzip": (lambda: gzip.compress(b"", mtime=0) * 200_000, "fine"),
    "empty streams of bzip2": (lambda: bz2.compress(b"") * 50_000, "fine"),
    "empty streams of xz": (lambda: lzma.compress(b"") * 30_000, "fine"),
    "gzip of zeros": (lambda: gzip.compress(bytes(600 * MEBI), 9), "fine"),
    "xz of zeros": (lambda: lzma.compress(bytes(600 * MEBI), preset=1), "fine"),
    "xz with a large window": (
        lambda: lzma.compress(
            b"x", filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 30}]
        ),
        "needs too much memory",
    ),
    "zstd with a large window": (
        lambda: bytes.fromhex("28b52ffd00") + bytes([0xA0]) + bytes.fromhex("010000"),
        "needs too much memory",
    ),
}


@pytest.mark.parametrize("case", STREAMS)
def test_streams_that_become_a_lot(tmp_path: Path, case: str) -> None:
    make, message = STREAMS[case]

    assert message in unpack_in_child(make(), tmp_path)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(entries=2), "an archive may have 2 entries"),
        (Limits(name=3), "a name may have 3 bytes"),
        (Limits(depth=1), "it lies in more than 1 directories"),
        (Limits(headers=600), "its extended headers"),
    ],
)
def test_limits_are_told_with_the_entry(limits: Limits, message: str) -> None:
    names = ("a", "b", "c/d/e", "f" * 101)
    data = b"".join(header(Entry(name=name)) for name in names)
    with pytest.raises(
        InvalidLayer, match=rf"^can't read the entry( '.*')? at byte \d+: {message}"
    ):
        list(TarReader(io.BytesIO(data), limits=limits))


# --- work that is ended ---


class Endless:
    """A stream that goes on for ever, and asks to be ended when it has gone on for a while."""

    def __init__(self, piece: bytes, token: CancelToken, first: bytes = b"") -> None:
        self._pieces = [first + piece]
        self._piece = piece
        self._token = token
        self._reads = 0

    def read(self, _size: int, /) -> bytes:
        self._reads += 1
        if self._reads == 20:
            self._token.cancel()
        return self._pieces.pop() if self._pieces else self._piece


PIECES: dict[str, tuple[bytes, bytes]] = {
    "headers": (b"", header(Entry(name="f")) * 100),
    "zeros": (b"", bytes(1 << 18)),
    "content": (header(Entry(name="f", size=1 << 37)), b"x" * (1 << 16)),
    "gzip members": (b"", gzip.compress(header(Entry(name="f")) * 1000, mtime=0)),
    "empty gzip members": (b"", gzip.compress(b"", mtime=0) * 100),
}


@pytest.mark.parametrize("unpack", [apply, lambda tar, root: extract(tar, root, "/")])
@pytest.mark.parametrize("case", [case for case in PIECES if case != "zeros"])
def test_unpacking_ends_when_it_is_told(
    tmp_path: Path, case: str, unpack: Callable[[object, Path], object]
) -> None:
    token = CancelToken()
    first, piece = PIECES[case]
    with (
        pytest.raises(Cancelled),
        cancellable(token),
        decompressed(Endless(piece, token, first)) as tar,
    ):
        unpack(tar, tmp_path)


@pytest.fixture
def ending() -> Iterator[CancelToken]:
    """Return a token that is cancelled while the work is at it, and that the work heeds."""
    token = CancelToken()
    timer = threading.Timer(0.2, token.cancel)
    timer.start()
    with cancellable(token):
        yield token
    timer.join()


def test_hashing_ends_when_it_is_told(tmp_path: Path, ending: CancelToken) -> None:
    path = tmp_path / "nothing"
    path.touch()
    os.truncate(path, 1 << 40)
    with pytest.raises(Cancelled):
        hash_file(str(path), os.stat(path))


def test_walking_ends_when_it_is_told(tmp_path: Path, ending: CancelToken) -> None:
    (tmp_path / "file").touch()
    tree = SourceTree(root=tmp_path)
    walks = (each for _ in itertools.count() for each in select(tree, str(tmp_path)))
    with pytest.raises(Cancelled):
        deque(walks, maxlen=0)


@pytest.mark.parametrize("kind", [Compression.GZIP, Compression.ZSTD, Compression.UNCOMPRESSED])
def test_packing_ends_when_it_is_told(
    tmp_path: Path, ending: CancelToken, kind: Compression
) -> None:
    (tmp_path / "nothing").touch()
    os.truncate(tmp_path / "nothing", 1 << 40)
    with (
        open(os.devnull, "wb") as nothing,
        HashingSink(nothing) as sink,
        pytest.raises(Cancelled),
    ):
        compress(lambda tar: write_layer(tmp_path, [], tar), sink, kind)


def test_a_dockerfile_is_left_when_it_is_told(ending: CancelToken) -> None:
    text = "FROM scratch\n" + "ENV a=b\n" * 1_000_000
    with pytest.raises(Cancelled):
        parse(SourceText(name="Dockerfile", text=text))


LONG: dict[str, tuple[str, str, str]] = {
    "a tebibyte in the context": ("FROM scratch\nCOPY nothing /\n", "nothing", "COPY nothing"),
    "a Dockerfile of 2 MiB": (
        "FROM scratch\n" + "".join(f"ENV a{each}=b\n" for each in range(100_000)),
        "",
        "load build definition",
    ),
}


@pytest.mark.root
@pytest.mark.runtime
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("case", LONG)
def test_the_first_signal_ends_a_build(root: Person, case: str, number: signal.Signals) -> None:
    text, file, said = LONG[case]
    root.write("Dockerfile", text)
    if file:
        root.write(file, "")
        os.truncate(root.work / file, 1 << 40)
    with root.start("build", "-o", "out", ".") as child:
        assert child.stderr is not None
        while said not in child.stderr.readline().decode():
            assert child.poll() is None
        child.send_signal(number)
        err = child.communicate(timeout=60)[1].decode()

    assert (child.returncode, err.splitlines()[-1]) == (
        130,
        "ERROR: failed to build: failed to solve: Canceled: context canceled",
    )


# --- trees that are deep ---


def dig(directory: Path, depth: int) -> None:
    """Make directories in directories, deeper than a path can name."""
    before = os.open(".", os.O_RDONLY)
    os.chdir(directory)
    for _ in range(depth):
        os.mkdir("d")
        os.chdir("d")
    os.fchdir(before)
    os.close(before)


@pytest.mark.root
@pytest.mark.runtime
@pytest.mark.parametrize("depth", [1000, 3000])
@pytest.mark.parametrize("output", ["out", "type=oci,dest=out.tar"])
def test_a_deep_context_is_an_error_about_it(root: Person, depth: int, output: str) -> None:
    root.write("Dockerfile", "FROM scratch\nCOPY . /\n")
    dig(root.work, depth)
    ended = root.run("build", "-o", output, ".")

    assert ended.status == 1
    assert "nested too deep" in ended.complaint() or "too long" in ended.complaint()


@pytest.mark.root
@pytest.mark.runtime
@pytest.mark.parametrize("hops", [4, 12])
@pytest.mark.parametrize("output", ["out", "type=tar,dest=out.tar", "type=oci,dest=out.tar"])
def test_deep_directories_of_a_step_are_an_error_about_them(
    root: Person, registry: RealRegistry, hops: int, output: str
) -> None:
    step = "RUN " + f"mkdir -p {'d/' * 250} && cd -P {'d/' * 250} && " * hops + "true"
    root.write("Dockerfile", f"FROM {registry.host}/library/busybox\n{step}\n")
    ended = root.run("build", "-o", output, ".")

    # Files are walked without recursion, so what has a path can be had.
    if hops == 12 or output.startswith("type=oci"):
        assert ended.status == 1
        assert "nested too deep" in ended.complaint() or "too long" in ended.complaint()
    else:
        ended.check()
    root.run("prune", "-af").check()


@pytest.mark.root
@pytest.mark.runtime
@pytest.mark.parametrize("is_added", [True, False], ids=["ADD", "layer"])
def test_a_bomb_is_told_by_its_limit(root: Person, is_added: bool) -> None:
    name = "bomb" if is_added else "app"
    members: list[Member] = [("a/" * 401 + "f", {}, b"")]
    with serving() as server:
        (root.work / "bomb").write_bytes(tar_of(members))
        plant_image(server, "app", tar_of(members))
        base = "scratch" if is_added else f"{server.host}/app"
        root.write("Dockerfile", f"FROM {base}\nADD {name if is_added else 'Dockerfile'} /\n")
        ended = root.run("build", "-o", "out", ".")

    assert ended.status == 1
    assert "it lies in more than 400 directories, one in another" in ended.complaint()


def test_as_deep_as_may_be_is_packed_and_copied(tmp_path: Path) -> None:
    packed = io.BytesIO()
    writer = TarWriter(packed)
    writer.add(Entry(name="d/" * 400 + "f"))
    writer.end()
    packed.seek(0)
    apply(packed, tmp_path)

    again = io.BytesIO()
    write_layer(tmp_path, [], again)
    assert sum(1 for _ in select(SourceTree(root=tmp_path), str(tmp_path))) == 401
    assert sum(1 for _ in TarReader(io.BytesIO(again.getvalue()))) == 401
