"""Archives made by an attacker, or cut by accident: nothing lies outside of its root, nothing is lost unsaid.

Names that leave the root by `..` or by links (CVE-2014-6407 and CVE-2014-9356 of Docker,
CVE-2025-45582 of tar), links of `.` and `/` (CVE-2021-29136 of umoci), hard links to links, whiteouts through
links; PAX sizes that two readers take differently (CVE-2025-62518 of tokio-tar); archives that end early or
late. What ADD takes, the archive on standard input takes, too, and refuses as well.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from polyarch.errors import InvalidLayer
from polyarch.layer.apply import apply, extract
from polyarch.layer.compress import decompressed
from polyarch.layer.tar import Entry, header
from polyarch.layer.tarread import TarReader
from polyarch.worker.archive import unpack_archive
from tests.support.machine.engines import ROOT
from tests.support.machine.programs import Person, person
from tests.support.network.plants import Member, plant_image, tar_of
from tests.support.network.registry import serving
from tests.support.network.web import Page, web_server

TWO = tar_of([("a", {}, b"hello"), ("b", {}, b"world")])
CUT = TWO[: 3 * 512 + 5]
"""Behind the last byte of the last member: no padding and no end mark."""
LINK: dict[str, object] = {"type": tarfile.SYMTYPE}
HARD: dict[str, object] = {"type": tarfile.LNKTYPE}
DIRECTORY: dict[str, object] = {"type": tarfile.DIRTYPE}
PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "tar": bytes,
    "gzip": gzip.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
}


@pytest.fixture
def root(tmp_path: Path) -> Person:
    return person(ROOT, tmp_path / "home")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """Return a directory deep enough that leaving it would show."""
    directory = tmp_path / "outside" / "root" / "target"
    directory.mkdir(parents=True)
    return directory


def files(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): os.readlink(path).encode()
        if path.is_symlink()
        else path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_symlink() or path.is_file()
    }


def add(target: Path, data: bytes) -> dict[str, bytes]:
    """Unpack as ADD does; return the files, which lie nowhere else."""
    path = target.parent.parent.parent / "c.tar"
    path.write_bytes(data)
    assert unpack_archive(path, target, "/", None, [])
    assert [each.name for each in (target.parent, target.parent.parent)] == ["root", "outside"]
    assert [*os.listdir(target.parent), *os.listdir(target.parent.parent)] == ["target", "root"]
    return files(target)


# --- archives that end early, or don't end where they should ---


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
@pytest.mark.parametrize("end", [0, 1, 200, 507, 512 + 507, 1024 + 507, 100_000])
def test_the_padding_of_the_last_member_may_be_missing(
    target: Path, end: int, pack: Callable[[bytes], bytes]
) -> None:
    assert add(target, pack(CUT + bytes(end))) == {"a": b"hello", "b": b"world"}


@pytest.mark.parametrize("end", [0, 100, 507])
def test_a_layer_without_padding_has_the_digest_of_its_bytes(target: Path, end: int) -> None:
    assert apply(io.BytesIO(CUT + bytes(end)), target).startswith("sha256:")
    assert files(target) == {"a": b"hello", "b": b"world"}


@pytest.mark.parametrize("unpack", [apply, lambda data, root: extract(data, root, "/")])
@pytest.mark.parametrize("size", [3 * 512 + 4, 2 * 512 + 100, 2 * 512 - 508 - 1, 300])
def test_data_that_is_short_is_an_error(
    target: Path, size: int, unpack: Callable[[io.BytesIO, Path], object]
) -> None:
    with pytest.raises(InvalidLayer, match=r"at byte \d+: the archive ends in the middle"):
        unpack(io.BytesIO(TWO[:size]), target)


def test_a_header_without_its_entry_is_an_error() -> None:
    extended = header(Entry(name="n" * 101))[:1024]
    with pytest.raises(InvalidLayer, match="ends behind the headers that extend it"):
        list(TarReader(io.BytesIO(TWO[:2048] + extended)))


def test_a_single_block_of_zeros_hides_nothing(target: Path) -> None:
    # BuildKit refuses it as well: some readers stop here, and others go on.
    with pytest.raises(InvalidLayer, match="at byte 1024: a block of zeros stands among"):
        apply(io.BytesIO(TWO[:1024] + bytes(512) + TWO[1024:]), target)


@pytest.mark.parametrize(
    "rest",
    [b"garbage" * 99, b"\x1f\x8b", gzip.compress(TWO)[:20], bytes(99) + b"x"],
    ids=["garbage", "magic", "a stream that is cut", "zeros and more"],
)
@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_add_does_not_look_behind_the_end(
    target: Path, pack: Callable[[bytes], bytes], rest: bytes
) -> None:
    assert add(target, pack(TWO) + rest) == {"a": b"hello", "b": b"world"}


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_layer_with_bytes_behind_its_end_is_refused(
    target: Path, pack: Callable[[bytes], bytes]
) -> None:
    with (
        pytest.raises(InvalidLayer, match="there are bytes behind the end of the"),
        decompressed(io.BytesIO(pack(TWO) + b"garbage")) as tar,
    ):
        apply(tar, target)


def test_a_damaged_archive_is_not_copied_as_a_file(target: Path) -> None:
    packed = gzip.compress(TWO)
    with pytest.raises(InvalidLayer, match="the gzip data is damaged"):
        add(target, packed[:-8] + b"badcrc!!")


WAYS = ("ADD", "ADD of gzip", "--unpack", "standard input", "registry", "layout")


@pytest.mark.root
@pytest.mark.runtime
@pytest.mark.parametrize("way", WAYS)
def test_an_archive_without_padding_by_every_way(root: Person, way: str) -> None:
    (root.work / "c.tar").write_bytes(gzip.compress(CUT) if way == "ADD of gzip" else CUT)
    stdin, context = b"", "."
    with serving() as server, web_server() as web:
        text = "FROM scratch\nADD c.tar /\n"
        if way == "--unpack":
            web.pages["/c.tar"] = Page(CUT)
            text = f"FROM scratch\nADD --unpack {web.address}/c.tar /\n"
        elif way == "standard input":
            dockerfile = b"FROM scratch\nCOPY a b /\n"
            stdin, context = tar_of([("Dockerfile", {}, dockerfile)])[:1024] + CUT, "-"
        elif way in {"registry", "layout"}:
            plant_image(server, "app", CUT)
            root.run(
                "imagetools", "create", "-t", "oci-layout://here:1", f"{server.host}/app"
            ).check()
            name = f"{server.host}/app" if way == "registry" else "oci-layout://here:1"
            text = f"FROM {'base' if way == 'layout' else name}\nCOPY Dockerfile /\n"
        root.write("Dockerfile", text)
        words = ["--build-context", "base=oci-layout://here:1"] if way == "layout" else []
        root.run("build", *words, "-o", "out", context, stdin=stdin).check()

    found = files(root.work / "out")
    assert (found["a"], found["b"]) == (b"hello", b"world")


# --- names that lead elsewhere ---

CLAMPED: dict[str, tuple[tuple[Member, ...], dict[str, bytes]]] = {
    "a parent": ((("../x", {}, b"1"),), {"x": b"1"}),
    "many parents": ((("../../../../x", {}, b"1"),), {"x": b"1"}),
    "a parent on the way": ((("a/../../x", {}, b"1"),), {"x": b"1"}),
    "an absolute path": ((("/x", {}, b"1"),), {"x": b"1"}),
    "a parent of the root": ((("/../x", {}, b"1"),), {"x": b"1"}),
    "the parent itself": ((("..", DIRECTORY, b""), ("a", {}, b"2")), {"a": b"2"}),
    "the parent's name": ((("../target/x", {}, b"1"),), {"target/x": b"1"}),
    "a hard link to a parent's": (
        (("x", {}, b"1"), ("y", {**HARD, "linkname": "../../x"}, b"")),
        {"x": b"1", "y": b"1"},
    ),
    "a link to above": (
        (("s", {**LINK, "linkname": "../../.."}, b""), ("s/x", {}, b"1")),
        {"s": b"../../..", "x": b"1"},
    ),
    "a link to the root": (
        (("s", {**LINK, "linkname": "/"}, b""), ("s/../x", {}, b"1")),
        {"s": b"/", "x": b"1"},
    ),
}


@pytest.mark.parametrize("case", CLAMPED)
def test_names_of_added_archives_start_at_the_destination(target: Path, case: str) -> None:
    members, expected = CLAMPED[case]

    assert add(target, tar_of(members)) == expected


@pytest.mark.root
@pytest.mark.runtime
@pytest.mark.parametrize("case", CLAMPED)
def test_names_of_archives_on_standard_input_do_as_well(root: Person, case: str) -> None:
    members, expected = CLAMPED[case]
    dockerfile: Member = ("Dockerfile", {}, b"FROM scratch\nCOPY . /\n")
    root.run("build", "-o", "out", "-", stdin=tar_of([dockerfile, *members])).check()

    found = files(root.work / "out")
    assert {name: data for name, data in found.items() if name != "Dockerfile"} == expected


@pytest.mark.parametrize("case", [case for case in CLAMPED if case != "a link to the root"])
def test_such_names_are_refused_in_layers(target: Path, case: str) -> None:
    with pytest.raises(InvalidLayer):
        apply(io.BytesIO(tar_of(CLAMPED[case][0])), target)

    assert os.listdir(target.parent) == ["target"]


SAFE: dict[str, tuple[tuple[Member, ...], dict[str, bytes]]] = {
    "a link in the place of the root": (
        ((".", {**LINK, "linkname": "/etc"}, b""), ("x", {}, b"1")),
        {"x": b"1"},
    ),
    "a link called /": (
        (("./", {**LINK, "linkname": "../.."}, b""), ("x", {}, b"1")),
        {"x": b"1"},
    ),
    "a hard link to a link, then the file": (
        (
            ("l", {**LINK, "linkname": "../../victim"}, b""),
            ("h", {**HARD, "linkname": "l"}, b""),
            ("h", {}, b"1"),
        ),
        {"l": b"../../victim", "h": b"1"},
    ),
    "a file in the place of a link": (
        (("l", {**LINK, "linkname": "/etc/passwd"}, b""), ("l", {}, b"1")),
        {"l": b"1"},
    ),
    "a directory in the place of a link": (
        (
            ("l", {**LINK, "linkname": "/etc"}, b""),
            ("l", DIRECTORY, b""),
            ("l/x", {}, b"1"),
        ),
        {"l/x": b"1"},
    ),
}


@pytest.mark.parametrize("case", SAFE)
@pytest.mark.parametrize("is_layer", [True, False], ids=["layer", "ADD"])
def test_links_are_never_written_through(target: Path, case: str, is_layer: bool) -> None:
    victim = target.parent.parent / "victim"
    victim.write_bytes(b"of the host")
    members, expected = SAFE[case]
    data = io.BytesIO(tar_of(members))
    if is_layer:
        apply(data, target)
    else:
        extract(data, target, "/")

    assert (files(target), victim.read_bytes()) == (expected, b"of the host")


@pytest.mark.parametrize(
    "name", ["l/.wh.victim", "l/.wh..wh..opq", "../.wh.victim", "/l/.wh.victim"]
)
def test_whiteouts_do_not_go_through_links(target: Path, name: str) -> None:
    (target.parent / "victim").write_text("of the host")
    link: Member = ("l", {**LINK, "linkname": ".."}, b"")
    with pytest.raises(InvalidLayer):
        apply(io.BytesIO(tar_of([link, (name, {}, b"")])), target)

    assert (target.parent / "victim").read_text() == "of the host"


def test_the_size_of_a_pax_record_counts_and_not_the_headers(target: Path) -> None:
    """One reader mustn't see entries in what another takes for content."""
    inner = header(Entry(name="smuggled")) + bytes(512)
    record = b"13 size=1024\n"
    extended = header(Entry(name="x", kind="x", size=len(record))) + record.ljust(512, b"\0")
    data = extended + header(Entry(name="f", size=0)) + inner + bytes(1024)
    apply(io.BytesIO(data), target)

    assert files(target) == {"f": inner}


def test_global_headers_change_no_entry(target: Path) -> None:
    """Go's reader, and so containerd's, doesn't heed them: the image would be another one elsewhere."""
    record = b"17 path=../evil1\n"
    extended = header(Entry(name="g", kind="g", size=len(record))) + record.ljust(512, b"\0")
    apply(io.BytesIO(extended + TWO), target)

    assert files(target) == {"a": b"hello", "b": b"world"}
