import os
import socket
import stat
from pathlib import Path

import pytest

from polyarch.errors import InputError
from polyarch.worker.copy import Copier
from polyarch.worker.filemode import parse_mode
from polyarch.worker.tree import SourceTree, find_sources
from polyarch.worker.users import Owner

OLD = 1_600_000_000


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    (root / "dir/sub").mkdir(parents=True)
    (root / "dir/file").write_text("content")
    (root / "dir/sub/deep").write_text("deep")
    (root / "dir").chmod(0o700)
    (root / "dir/sub").chmod(0o711)
    os.link(root / "dir/file", root / "dir/twin")
    (root / "dir/link").symlink_to("/elsewhere")
    for path in (root / "dir/file", root / "dir/sub/deep", root / "dir/sub", root / "dir"):
        os.utime(path, (OLD, OLD))
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    return path


def copy(source: Path, what: str, root: Path, destination: str, **flags: object) -> None:
    tree = SourceTree(root=source, is_context=True)
    copier = Copier(source=tree, root=root, **flags)  # type: ignore[arg-type]
    for entry in find_sources(tree, what):
        copier.copy(entry, destination)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def test_folder_gives_its_contents_to_a_new_folder(source: Path, root: Path) -> None:
    copy(source, "dir", root, "/new/place")

    place = root / "new/place"
    assert sorted(os.listdir(place)) == ["file", "link", "sub", "twin"]
    assert mode(place) == 0o755
    assert place.stat().st_mtime == OLD
    assert mode(place / "sub") == 0o711
    assert (place / "sub").stat().st_mtime == OLD
    assert os.readlink(place / "link") == "/elsewhere"


def test_existing_folder_keeps_mode_but_takes_the_time(source: Path, root: Path) -> None:
    (root / "here").mkdir(mode=0o750)

    copy(source, "dir", root, "/here", owner=Owner(uid=7, gid=8))

    assert mode(root / "here") == 0o750
    assert (root / "here").stat().st_mtime == OLD
    assert (root / "here/file").stat().st_uid == 7


def test_hard_links_stay_within_one_copy(source: Path, root: Path) -> None:
    copy(source, "dir", root, "/x")

    assert (root / "x/file").stat().st_ino == (root / "x/twin").stat().st_ino
    assert (root / "x/file").stat().st_ino != (source / "dir/file").stat().st_ino


@pytest.mark.parametrize(
    ("destination", "made"),
    [("/name", "name"), ("/folder/", "folder/file"), ("/there", "there/file")],
)
def test_file_destinations(source: Path, root: Path, destination: str, made: str) -> None:
    (root / "there").mkdir()

    copy(source, "dir/file", root, destination)

    assert (root / made).read_text() == "content"


def test_owner_and_mode(source: Path, root: Path) -> None:
    copy(source, "dir", root, "/x", owner=Owner(uid=3, gid=4), mode=parse_mode("u=rwX,go="))

    assert mode(root / "x/sub") == 0o700
    assert mode(root / "x/file") == 0o600
    assert ((root / "x/sub/deep").stat().st_uid, (root / "x/sub/deep").stat().st_gid) == (3, 4)
    assert (root / "x").stat().st_uid == 3


def test_links_at_the_destination_stay_inside(source: Path, root: Path) -> None:
    (root / "real").mkdir()
    (root / "alias").symlink_to("/real")

    copy(source, "dir/file", root, "/alias/")

    assert (root / "real/file").exists()


def test_file_over_folder_is_refused(source: Path, root: Path) -> None:
    (root / "x/file").mkdir(parents=True)
    with pytest.raises(InputError, match="cannot replace to directory /x/file with file"):
        copy(source, "dir/file", root, "/x/")


def test_folder_over_file_is_refused(source: Path, root: Path) -> None:
    (root / "x").write_text("")
    with pytest.raises(InputError, match="cannot copy to non-directory: /x"):
        copy(source, "dir", root, "/x")


def test_exclude_keeps_what_a_later_pattern_brings_back(source: Path, root: Path) -> None:
    copy(source, "dir", root, "/x", excludes=lambda path: path != "sub/deep")

    assert sorted(str(path.relative_to(root)) for path in root.rglob("*")) == [
        "x",
        "x/sub",
        "x/sub/deep",
    ]


def test_fifos_are_made_and_sockets_left_out(source: Path, root: Path) -> None:
    os.mkfifo(source / "dir/pipe")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(source / "dir/sock"))
    copy(source, "dir", root, "/x")

    assert stat.S_ISFIFO((root / "x/pipe").lstat().st_mode)
    assert not (root / "x/sock").exists()
