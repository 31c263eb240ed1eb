"""COPY, ADD and WORKDIR as whole builds: what is in the layers, read with Python's own tarfile."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import os
import re
import subprocess
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from polyarch.snapshot.choose import open_snapshotter
from polyarch.snapshot.snapshotter import SnapshotID
from polyarch.store.store import Store
from polyarch.worker.copy import Copier
from polyarch.worker.tree import SourceTree, find_literal
from tests.support.images.trees import plant
from tests.support.machine.namespaces import in_mount_namespace
from tests.support.machine.programs import Ended, Person

pytestmark = [pytest.mark.runtime, pytest.mark.root]

OLD = 1_600_000_000
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "tar": bytes,
    "gz": gzip.compress,
    "bz2": bz2.compress,
    "xz": lzma.compress,
}
LETTERS = {tarfile.DIRTYPE: "d", tarfile.SYMTYPE: "l", tarfile.FIFOTYPE: "p", tarfile.LNKTYPE: "h"}


def build(who: Person, dockerfile: str, *words: str) -> Ended:
    who.write("Dockerfile", dockerfile)
    return who.run("build", *words, "-o", f"type=oci,dest={who.work}/image.tar", ".")


def blobs(archive: Path) -> Iterator[bytes]:
    """Give the image's layers, base first."""
    with tarfile.open(archive) as layout:

        def read(name: str) -> bytes:
            stream = layout.extractfile(name)
            assert stream is not None
            return stream.read()

        def blob(digest: str) -> bytes:
            return read("blobs/" + digest.replace(":", "/"))

        (entry,) = json.loads(read("index.json"))["manifests"]
        for layer in json.loads(blob(entry["digest"]))["layers"]:
            yield gzip.decompress(blob(layer["digest"]))


def shown(member: tarfile.TarInfo) -> str:
    link = f" -> {member.linkname}" if member.linkname else ""
    letter = LETTERS.get(member.type, "-")
    return f"{letter}{member.mode:o} {member.uid}:{member.gid} {member.name}{link}"


def layers(who: Person, dockerfile: str, *words: str) -> list[list[str]]:
    build(who, dockerfile, *words).check()
    found = []
    for layer in blobs(who.work / "image.tar"):
        with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
            found.append([shown(member) for member in tar])
    return found


def times(who: Person) -> dict[str, float]:
    (layer,) = blobs(who.work / "image.tar")
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        return {member.name: member.mtime for member in tar}


@pytest.fixture
def context(who: Person) -> Person:
    who.write("a/b/one.txt", "1", 0o644)
    who.write("a/b/two.md", "2", 0o600)
    who.write("a/c/one.txt", "3", 0o755)
    who.write("top.txt", "4", 0o640)
    for path in (who.work / "a").rglob("*"):
        os.utime(path, (OLD, OLD))
    os.utime(who.work / "a", (OLD, OLD))
    return who


def test_modes_by_letters(context: Person) -> None:
    assert layers(context, "FROM scratch\nCOPY --chmod=u=rwX,go=g a /x/\n") == [
        [
            "d755 0:0 x",
            "d755 0:0 x/b",
            "-644 0:0 x/b/one.txt",
            "-600 0:0 x/b/two.md",
            "d755 0:0 x/c",
            "-755 0:0 x/c/one.txt",
        ]
    ]


def test_an_octal_mode_is_for_new_directories_too(context: Person) -> None:
    assert layers(context, "FROM scratch\nCOPY --chmod=2770 --chown=3:4 a/b /x/y\n") == [
        [
            "d770 3:4 x",
            "d770 3:4 x/y",
            "-2770 3:4 x/y/one.txt",
            "-2770 3:4 x/y/two.md",
        ]
    ]


def test_parents_and_exclude_together(context: Person) -> None:
    text = "FROM scratch\nCOPY --parents --exclude=b --exclude=!**/*.md --chown=5 a/./* */b /x/\n"
    assert layers(context, text) == [
        [
            "d755 5:5 x",
            "d755 5:5 x/a",
            "d755 5:5 x/a/b",
            "-644 5:5 x/a/b/one.txt",
            "-600 5:5 x/a/b/two.md",
            "d755 5:5 x/b",
            "-600 5:5 x/b/two.md",
            "d755 5:5 x/c",
            "-755 5:5 x/c/one.txt",
        ]
    ]


def test_parents_without_a_match(context: Person) -> None:
    assert layers(context, "FROM scratch\nCOPY --parents no*/such /x\n") == [["d755 0:0 x"]]


def test_an_epoch_dates_directories_that_come_for_their_contents(context: Person) -> None:
    epoch = ("--build-arg=SOURCE_DATE_EPOCH=1000000000",)
    layers(context, "FROM scratch\nCOPY --parents a/b/one.txt /x/y/\n", *epoch)

    found = times(context)
    assert [found[name] for name in ("x", "x/y/a", "x/y/a/b")] == [1_000_000_000] * 3
    assert found["x/y/a/b/one.txt"] == OLD


def test_owners_are_those_of_the_tree_that_is_changed(context: Person) -> None:
    context.write("etc/passwd", "odd:x\nbob:x:1000:1001::/:/bin/sh\n")
    context.write("etc/group", "staff:x:50:\n")
    text = """\
        FROM scratch
        COPY etc /etc/
        COPY --chown=bob:staff top.txt /1
        COPY --chown=bob:nogroup top.txt /2
        COPY --chown=7: top.txt /3
        COPY --chown=root:eve top.txt /4
        USER bob
        WORKDIR /home/bob
    """
    assert layers(context, text)[1:] == [
        ["-640 1000:50 1"],
        ["-640 1000:1001 2"],
        ["-640 7:0 3"],
        ["-640 0:0 4"],
        ["d755 1000:1001 home", "d755 1000:1001 home/bob"],
    ]


def test_a_linked_copy_looks_at_nothing_below(context: Person) -> None:
    (context.work / "l").symlink_to("/real")
    text = """\
        FROM scratch
        WORKDIR /w
        COPY . .
        COPY --link --chown=root:7 a/b/ ./l/
        COPY --link top.txt l
    """
    assert layers(context, text)[2:] == [
        ["d755 0:7 w", "d755 0:7 w/l", "-644 0:7 w/l/one.txt", "-600 0:7 w/l/two.md"],
        ["d755 0:0 w", "-640 0:0 w/l"],
    ]


def test_here_documents_are_copied_like_files(context: Person) -> None:
    text = """\
FROM scratch
COPY --chmod=u+x --chown=3:4 top.txt <<one <<-"two" /d/
1 $HOME
one
\t2 $HOME
\ttwo
COPY <<one /d/two
again
one
"""
    assert layers(context, text) == [
        ["d755 3:4 d", "-744 3:4 d/one", "-740 3:4 d/top.txt", "-744 3:4 d/two"],
        ["d755 3:4 d", "-644 0:0 d/two"],
    ]


def test_a_file_over_a_link_a_pattern_and_names_of_one_file(context: Person) -> None:
    os.link(context.work / "a/b/one.txt", context.work / "a/c/twin.txt")
    (context.work / "link").symlink_to("top.txt")
    text = """\
        FROM scratch AS first
        COPY a link /x/
        COPY [^t]*k /y/
        COPY a/*/one.txt /z
        FROM scratch
        COPY --from=first /x /x
        COPY --from=first / /x
    """
    assert layers(context, text) == [
        [
            "d755 0:0 x",
            "d755 0:0 x/b",
            "-644 0:0 x/b/one.txt",
            "-600 0:0 x/b/two.md",
            "d755 0:0 x/c",
            "-755 0:0 x/c/one.txt",
            "h644 0:0 x/c/twin.txt -> x/b/one.txt",
            "-640 0:0 x/link",
        ],
        [
            "d755 0:0 x",
            "d755 0:0 x/x",
            "d755 0:0 x/x/b",
            "-644 0:0 x/x/b/one.txt",
            "-600 0:0 x/x/b/two.md",
            "d755 0:0 x/x/c",
            "-755 0:0 x/x/c/one.txt",
            "h644 0:0 x/x/c/twin.txt -> x/x/b/one.txt",
            "-640 0:0 x/x/link",
            "d755 0:0 x/y",
            "-640 0:0 x/y/link",
            "-755 0:0 x/z",
        ],
    ]


def test_the_same_content_again_is_an_empty_layer(context: Person) -> None:
    text = "FROM scratch\nCOPY a/b /x/\nCOPY a/b /x/\nCOPY --chmod=600 a/b/one.txt /x/\n"
    assert layers(context, text)[1:] == [[], ["d755 0:0 x", "-600 0:0 x/one.txt"]]


def member(name: str, kind: bytes = tarfile.REGTYPE, **fields: object) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.type, entry.mtime, entry.uid, entry.gid, entry.mode = kind, OLD, 11, 12, 0o640
    for field, value in fields.items():
        setattr(entry, field, value)
    return entry


def archive(who: Person, name: str, *members: tarfile.TarInfo) -> None:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for each in members:
            tar.addfile(each, io.BytesIO(bytes(each.size)))
    who.write(name, "").write_bytes(COMPRESSIONS[name.rpartition(".")[2]](plain.getvalue()))


ARCHIVE = [
    member("./", tarfile.DIRTYPE, mode=0o700),
    member("new/file", size=3),
    member("/rooted", mode=0o4755),
    member("link", tarfile.SYMTYPE, linkname="/new"),
    member("link/through"),
    member("twin", tarfile.LNKTYPE, linkname="rooted", mode=0o600, uid=13),
    member(".wh.new"),
    member("twice", size=1),
    member("twice", tarfile.DIRTYPE, mode=0o711),
    member("n" * 120 + "/" + "é" * 60),
    member("pipe", tarfile.FIFOTYPE),
]


@pytest.mark.parametrize("kind", COMPRESSIONS)
def test_add_unpacks_what_is_an_archive(root: Person, kind: str) -> None:
    archive(root, f"data.{kind}", *ARCHIVE)
    long = "n" * 120
    assert layers(root, f"FROM scratch\nADD data.{kind} /x\n") == [
        [
            "d755 0:0 x",
            "-640 11:12 x/.wh.new",
            "l777 11:12 x/link -> /new",
            "d755 0:0 x/new",
            "-640 11:12 x/new/file",
            "-640 11:12 x/new/through",
            f"d755 0:0 x/{long}",
            f"-640 11:12 x/{long}/" + "é" * 60,
            "p640 11:12 x/pipe",
            "-600 13:12 x/rooted",
            "d711 11:12 x/twice",
            "h600 13:12 x/twin -> x/rooted",
        ]
    ]


def test_add_of_an_archive_with_flags(context: Person) -> None:
    archive(context, "data.gz", member("new/file"), member("dir", tarfile.DIRTYPE, mode=0o700))
    text = """\
        FROM scratch
        ADD --chown=3:4 --chmod=777 data.gz /x/y
        ADD --unpack=false --chmod=600 data.gz /x/
        ADD top.txt a /x/
    """
    found = layers(context, text)
    assert found[0] == [
        "d755 3:4 x",
        "d755 3:4 x/y",
        "d700 3:4 x/y/dir",
        "d755 0:0 x/y/new",
        "-640 3:4 x/y/new/file",
    ]
    assert found[1] == ["d755 3:4 x", "-600 0:0 x/data.gz"]
    assert "-640 0:0 x/top.txt" in found[2]


CAPABILITY = "SCHILY.xattr.security.capability"
# cap_net_bind_service, effective and permitted, in the second revision of the format.
NET_BIND = b"\x01\0\0\x02\0\x04" + bytes(14)


def test_capabilities_survive_archives_and_stages(context: Person) -> None:
    entry = member("tool", pax_headers={CAPABILITY: NET_BIND.decode()})
    archive(context, "tool.tar", entry)
    text = """\
        FROM scratch AS first
        ADD tool.tar /
        FROM scratch
        COPY --from=first --chown=5:6 --chmod=711 tool /
    """
    assert layers(context, text) == [["-711 5:6 tool"]]

    (layer,) = blobs(context.work / "image.tar")
    with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
        assert tar.getmember("tool").pax_headers[CAPABILITY].encode() == NET_BIND


def test_a_directory_of_workdir_survives_no_cache(context: Person) -> None:
    text = "FROM scratch\nWORKDIR /w\nCOPY top.txt .\n"
    build(context, text).check()
    again = build(context, text, "--no-cache", "--progress=plain").check().err

    assert re.search(r"(#\d+) \[1/2\] WORKDIR /w\n\1 CACHED", again)
    assert again.count("CACHED") == 1


REFUSALS = {
    "COPY top.txt /x/one.txt/\nCOPY a/b /x/one.txt/top.txt": "cannot copy to non-directory",
    "COPY a /x/\nCOPY top.txt /x/b/\nCOPY a/b/one.txt /x/b/two.md/..\nCOPY a/b /b/one.txt\n"
    "COPY a/b/one.txt /b/": "cannot replace to directory /b/one.txt with file",
    "COPY nowhere/* /x/": "lstat /nowhere: no such file or directory",
    "COPY --parents nowhere/a /x/": '"/nowhere/a": not found',
    "COPY --chown=bob top.txt /x/": "invalid user index: -1",
    "COPY --chmod=abc top.txt /x/": "invalid chmod parameter: 'abc': invalid syntax",
    "COPY --exclude=[ a /x/": "syntax error in pattern",
}


@pytest.mark.parametrize("steps", REFUSALS)
def test_refusals(root: Person, steps: str) -> None:
    root.write("a/b/one.txt", "1")
    root.write("a/b/two.md", "2")
    root.write("top.txt", "4")
    ended = build(root, f"FROM scratch\n{steps}\n")

    assert ended.status == 1
    assert REFUSALS[steps] in ended.err
    assert "Dockerfile:" in ended.err
    assert "Traceback" not in ended.err


def test_attributes_that_the_file_system_refuses_are_left_out(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    (source / "f").write_text("content")
    os.setxattr(source / "f", "user.note", b"1")

    def work() -> None:
        subprocess.run(["mount", "-t", "ramfs", "ramfs", target], check=True)
        tree = SourceTree(root=source)
        Copier(source=tree, root=target).copy(find_literal(tree, "f"), "/f")
        assert (target / "f").read_text() == "content"

    in_mount_namespace(work)


def test_a_copy_out_of_an_overlay_is_made_of_the_layer(tmp_path: Path) -> None:
    """The kernel clones no file between an overlay and the file system that its layers are on."""

    def work() -> None:
        snapshots = open_snapshotter(Store(tmp_path / "store"), "overlay")
        low, high = SnapshotID("low"), SnapshotID("high")
        snapshots.unpack(low, lambda directory: plant(directory, {"d/f": "1" * 70_000, "d/g": "1"}))
        snapshots.unpack(high, lambda directory: plant(directory, {"d/f": "2" * 70_000}))
        layers = tuple(str(snapshots.path(each)) for each in (high, low))
        with snapshots.view([low, high]) as root:
            tree = SourceTree(root=root, layers=layers)
            shown = (root / "d/f").stat()
            # The mount goes on showing the file that it has found before, the layer has another one.
            os.unlink(f"{layers[0]}/d/f")
            Path(layers[0], "d/f").write_text("3" * 70_000)
            (tmp_path / "target").mkdir()
            Copier(source=tree, root=tmp_path / "target").copy(find_literal(tree, "d"), "/to")
        assert shown.st_size == 70_000
        assert (tmp_path / "target/to/f").read_text() == "3" * 70_000
        assert (tmp_path / "target/to/g").read_text() == "1"

    in_mount_namespace(work)
