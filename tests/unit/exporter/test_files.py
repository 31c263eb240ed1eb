"""Files without an image: copied to a directory, or packed with their owners."""

from __future__ import annotations

import io
import os
import stat
import tarfile
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyarch.errors import InputError
from polyarch.exporter.directory import DirectoryOptions, write_files
from polyarch.exporter.files import write_tar
from polyarch.exporter.result import FileTree
from polyarch.inroot import OWNER_XATTR
from polyarch.platforms import Platform
from tests.support.images.exports import AMD64, ARM64
from tests.support.images.trees import MTIME, look_at, plant

FLAT = DirectoryOptions(split=False)
NAMES = st.sampled_from(["a", "b", "c.d"])
TREES = st.dictionaries(
    st.lists(NAMES, min_size=1, max_size=3).map("/".join),
    st.none() | st.sampled_from(["", "text", "-> a", "-> /etc", "-> ../../.."]),
    max_size=6,
).map(
    lambda tree: {
        name: text
        for name, text in tree.items()
        # What is below a file or link can't be; what is above something is a directory.
        if not any(tree.get(name[:end]) is not None for end, c in enumerate(name) if c == "/")
    }
)


def tree_of(root: Path, files: dict[str, str | None], platform: Platform = AMD64) -> FileTree:
    return FileTree(platform=platform, root=plant(root, files))


def packed(*trees: FileTree, split: bool = False) -> tarfile.TarFile:
    written = io.BytesIO()
    write_tar(trees, written, split=split)
    return tarfile.open(fileobj=io.BytesIO(written.getvalue()))


def test_platforms_of_an_archive_are_sorted(tmp_path: Path) -> None:
    trees = [tree_of(tmp_path / str(each), {"a": ""}, each) for each in (ARM64, AMD64)]

    names = packed(*trees, split=True).getnames()

    assert names == ["linux_amd64", "linux_amd64/a", "linux_arm64", "linux_arm64/a"]


@pytest.mark.root
@given(files=TREES)
@settings(max_examples=40, deadline=None)
def test_a_directory_and_an_archive_hold_the_files(files: dict[str, str | None]) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        tree = tree_of(directory / "tree", files)
        expected = look_at(tree.root)

        write_files([tree], directory / "out", FLAT)
        with packed(tree) as archive:
            archive.extractall(directory / "unpacked", filter="fully_trusted")

        assert look_at(directory / "out") == expected
        if expected:
            assert look_at(directory / "unpacked") == expected
        for path in (directory / "out").rglob("*"):
            assert path.lstat().st_mtime == MTIME


@given(files=TREES)
@settings(max_examples=30, deadline=None)
def test_equal_trees_give_the_same_bytes(files: dict[str, str | None]) -> None:
    with tempfile.TemporaryDirectory() as name:
        written = []
        for number, planted in enumerate((files, dict(reversed(files.items())))):
            tree = tree_of(Path(name) / str(number), planted)
            sink = io.BytesIO()
            write_tar([tree, FileTree(platform=ARM64, root=tree.root)], sink, split=True)
            written.append(sink.getvalue())

        assert written[0] == written[1]


@pytest.mark.root
def test_systems_of_two_versions_have_directories_of_their_own(tmp_path: Path) -> None:
    platforms = [
        Platform(os="windows", architecture="amd64", os_version=version)
        for version in ("10.0", "11.0")
    ]

    named = [FileTree(platform=each, root=tmp_path).directory for each in platforms]

    assert named == ["windows(10.0)_amd64", "windows(11.0)_amd64"]


def test_modes_and_times_are_kept(tmp_path: Path) -> None:
    tree = tree_of(tmp_path / "tree", {"bin/su": "", "closed/f": "", "link": "-> gone"})
    modes = {"bin/su": 0o4755, "closed": 0o500, "closed/f": 0o400}
    for name, mode in modes.items():
        (tree.root / name).chmod(mode)

    write_files([tree], tmp_path / "out", FLAT)

    assert {
        name: stat.S_IMODE((tmp_path / "out" / name).lstat().st_mode) for name in modes
    } == modes
    assert (tmp_path / "out/closed").lstat().st_mtime == MTIME
    (tmp_path / "out/closed").chmod(0o700)


def test_what_is_there_stays_and_what_is_equal_is_replaced(tmp_path: Path) -> None:
    plant(tmp_path / "out", {"own": "mine", "d/f": "old", "d/own": "mine", "link": "-> own"})
    tree = tree_of(tmp_path / "tree", {"d/f": "new", "link": "file"})

    write_files([tree], tmp_path / "out", FLAT)

    assert look_at(tmp_path / "out") == {
        "d": None,
        "d/f": "new",
        "d/own": "mine",
        "link": "file",
        "own": "mine",
    }


def test_a_link_in_the_way_of_a_directory_is_not_followed(tmp_path: Path) -> None:
    plant(tmp_path, {"outside/f": "safe", "out/d": "-> ../outside"})
    tree = tree_of(tmp_path / "tree", {"d/f": "new"})

    write_files([tree], tmp_path / "out", FLAT)

    assert (tmp_path / "outside/f").read_text() == "safe"
    assert look_at(tmp_path / "out") == {"d": None, "d/f": "new"}


def test_a_hard_link_on_our_side_is_broken(tmp_path: Path) -> None:
    plant(tmp_path, {"out/f": "old"})
    os.link(tmp_path / "out/f", tmp_path / "other")
    tree = tree_of(tmp_path / "tree", {"f": "new"})

    write_files([tree], tmp_path / "out", FLAT)

    assert (tmp_path / "other").read_text() == "old"


def test_pipes_are_copied_and_sockets_are_not(tmp_path: Path) -> None:
    tree = tree_of(tmp_path / "tree", {"f": ""})
    os.mkfifo(tree.root / "pipe")
    os.mknod(tree.root / "socket", stat.S_IFSOCK | 0o600)

    write_files([tree], tmp_path / "out", FLAT)

    assert sorted(os.listdir(tmp_path / "out")) == ["f", "pipe"]
    with packed(tree) as archive:
        assert archive.getnames() == ["f", "pipe"]
        assert archive.getmember("pipe").isfifo()


def both(tmp_path: Path, one: str | None, other: str | None) -> list[FileTree]:
    trees = []
    for platform, text in ((AMD64, one), (ARM64, other)):
        root = tmp_path / platform.architecture
        trees.append(tree_of(root, {"same": "1", "f": text, "only": ""}, platform))
    return trees


WRITERS: list[Callable[[list[FileTree], Path], None]] = [
    lambda trees, directory: write_files(trees, directory, FLAT),
    lambda trees, _directory: write_tar(trees, io.BytesIO(), split=False),
]


@pytest.mark.parametrize("write", WRITERS, ids=["files", "tar"])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("a", "b"),
        ("a", None),
        (None, "a"),
        ("a", "-> same"),
        ("-> same", "-> only"),
        (None, "-> x"),
    ],
)
def test_platforms_that_differ_are_not_mixed(
    tmp_path: Path,
    write: Callable[[list[FileTree], Path], None],
    one: str | None,
    other: str | None,
) -> None:
    with pytest.raises(InputError) as caught:
        write(both(tmp_path, one, other), tmp_path / "out")

    assert str(caught.value) == (
        "cannot overwrite f from linux/amd64 with linux/arm64 when split option is disabled"
    )


@pytest.mark.parametrize("text", ["a", None, "-> same"])
def test_platforms_that_agree_are_laid_over_one_another(tmp_path: Path, text: str | None) -> None:
    trees = both(tmp_path, text, text)

    write_files(trees, tmp_path / "out", FLAT)

    assert look_at(tmp_path / "out") == {"f": text, "only": "", "same": "1"}
    with packed(*trees) as archive:
        assert archive.getnames() == ["f", "only", "same"]


def test_an_archive_keeps_hard_links_and_recorded_owners(tmp_path: Path) -> None:
    tree = tree_of(tmp_path / "tree", {"a": "text"})
    os.link(tree.root / "a", tree.root / "b")
    os.setxattr(tree.root / "a", OWNER_XATTR, b"1000:1001")

    with packed(tree) as archive:
        first, second = archive.getmembers()

    assert (first.uid, first.gid, first.uname) == (1000, 1001, "")
    assert (second.islnk(), second.linkname) == (True, "a")


def test_links_between_platforms_stay_within_their_directory(tmp_path: Path) -> None:
    tree = tree_of(tmp_path / "tree", {"a": "text"})
    os.link(tree.root / "a", tree.root / "b")
    trees = [tree, FileTree(platform=ARM64, root=tree.root)]

    with packed(*trees, split=True) as archive:
        links = {each.name: each.linkname for each in archive.getmembers() if each.islnk()}

    assert links == {"linux_amd64/b": "linux_amd64/a", "linux_arm64/b": "linux_arm64/a"}


@pytest.mark.root
def test_devices_are_in_an_archive_and_nowhere_else(tmp_path: Path) -> None:
    tree = tree_of(tmp_path / "tree", {})
    os.mknod(tree.root / "null", stat.S_IFCHR | 0o666, os.makedev(1, 3))

    write_files([tree], tmp_path / "out", FLAT)

    assert os.listdir(tmp_path / "out") == []
    with packed(tree) as archive:
        member = archive.getmember("null")
        assert (member.ischr(), member.devmajor, member.devminor) == (True, 1, 3)


@pytest.mark.root
def test_capabilities_are_in_an_archive(tmp_path: Path) -> None:
    tree = tree_of(tmp_path / "tree", {"ping": "", "plain": ""})
    capability = bytes.fromhex("0100000200200000000000000000000000000000")
    os.setxattr(tree.root / "ping", "security.capability", capability)

    with packed(tree) as archive:
        headers = {each.name: each.pax_headers for each in archive.getmembers()}

    assert headers["plain"] == {}
    key = "SCHILY.xattr.security.capability"
    assert headers["ping"][key].encode("utf-8", "surrogateescape") == capability
