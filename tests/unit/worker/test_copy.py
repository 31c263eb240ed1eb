import os
import socket
import stat
from pathlib import Path

import pytest

from polyarch.errors import InputError
from polyarch.inroot import NODE_XATTR, get_node
from polyarch.text.filemode import parse_mode
from polyarch.text.ignore import Matcher
from polyarch.worker.copy import Copier
from polyarch.worker.filecopy import TargetDirectory
from polyarch.worker.tree import SourceTree, find_literal, find_sources
from polyarch.worker.users import Owner
from polyarch.worker.walk import select

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


def test_directory_gives_its_contents_to_a_new_directory(source: Path, root: Path) -> None:
    copy(source, "dir", root, "/new/place")

    place = root / "new/place"
    assert sorted(os.listdir(place)) == ["file", "link", "sub", "twin"]
    assert mode(place) == 0o755
    assert place.stat().st_mtime == OLD
    assert mode(place / "sub") == 0o711
    assert (place / "sub").stat().st_mtime == OLD
    assert os.readlink(place / "link") == "/elsewhere"


@pytest.mark.root
def test_existing_directory_keeps_mode_but_takes_the_time(source: Path, root: Path) -> None:
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
    [("/name", "name"), ("/directory/", "directory/file"), ("/there", "there/file")],
)
def test_file_destinations(source: Path, root: Path, destination: str, made: str) -> None:
    (root / "there").mkdir()

    copy(source, "dir/file", root, destination)

    assert (root / made).read_text() == "content"


@pytest.mark.root
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


def test_file_over_directory_is_refused(source: Path, root: Path) -> None:
    (root / "x/file").mkdir(parents=True)
    with pytest.raises(InputError, match="cannot replace to directory /x/file with file"):
        copy(source, "dir/file", root, "/x/")


def test_directory_over_file_is_refused(source: Path, root: Path) -> None:
    (root / "x").write_text("")
    with pytest.raises(InputError, match="cannot copy to non-directory: /x"):
        copy(source, "dir", root, "/x")


def test_exclude_keeps_what_a_later_pattern_brings_back(source: Path, root: Path) -> None:
    copy(source, "dir", root, "/x", excludes=Matcher(["*", "!sub/deep"]))

    assert sorted(str(path.relative_to(root)) for path in root.rglob("*")) == [
        "x",
        "x/sub",
        "x/sub/deep",
    ]


def paths(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_exclude_is_not_asked_about_the_source_itself(source: Path, root: Path) -> None:
    copy(source, "dir/f*", root, "/x/", excludes=Matcher(["f*", "**/f*"]))

    assert paths(root) == ["x", "x/file"]


def test_exclude_judges_directories_before_what_is_in_them(source: Path, root: Path) -> None:
    # A walk never asks a pattern about what is below a directory that it couldn't have decided.
    (source / "dir/sub/a.md").write_text("")
    copy(source, "dir", root, "/x", excludes=Matcher(["**/*.md", "!sub"]))

    assert "x/sub/deep" in paths(root)
    assert "x/sub/a.md" not in paths(root)


@pytest.mark.root
def test_includes_make_the_directories_on_the_way_like_their_source(
    source: Path, root: Path
) -> None:
    copy(source, ".", root, "/x", includes=Matcher(["dir/sub/deep"]), owner=Owner(uid=3, gid=4))

    assert paths(root) == ["x", "x/dir", "x/dir/sub", "x/dir/sub/deep"]
    assert [mode(root / each) for each in ("x", "x/dir", "x/dir/sub")] == [0o755, 0o700, 0o711]
    assert (root / "x/dir/sub").stat().st_mtime == OLD
    assert (root / "x/dir").stat().st_uid == 3


def test_an_epoch_dates_directories_that_come_for_their_contents(source: Path, root: Path) -> None:
    copy(source, ".", root, "/x", includes=Matcher(["dir/sub/deep"]), created=OLD + 7)

    assert (root / "x/dir/sub").stat().st_mtime == OLD + 7
    assert (root / "x/dir/sub/deep").stat().st_mtime == OLD


@pytest.mark.root
def test_all_that_is_copied_may_have_one_time(source: Path, root: Path) -> None:
    copy(source, "dir", root, "/new", dated=1700000000)

    times = {each.lstat().st_mtime_ns for each in (root / "new", *(root / "new").rglob("*"))}
    assert times == {1700000000 * 10**9}


def test_existing_directories_on_the_way_take_the_mode_only(source: Path, root: Path) -> None:
    (root / "x/dir/sub").mkdir(parents=True)
    copy(source, ".", root, "/x", includes=Matcher(["dir/sub/deep"]), owner=Owner(uid=3, gid=4))

    found = (root / "x/dir/sub").stat()
    assert (stat.S_IMODE(found.st_mode), found.st_uid) == (0o711, 0)
    assert (root / "x/dir/sub/deep").stat().st_uid == 3


def test_includes_that_match_nothing_make_the_destination_only(source: Path, root: Path) -> None:
    copy(source, ".", root, "/x", includes=Matcher(["no*/such"]))

    assert paths(root) == ["x"]
    assert (root / "x").stat().st_mtime == source.stat().st_mtime


@pytest.mark.root
def test_existing_directories_below_take_mode_and_owner(source: Path, root: Path) -> None:
    (root / "x/sub").mkdir(parents=True, mode=0o777)
    copy(source, "dir", root, "/x", owner=Owner(uid=3, gid=4))

    assert (mode(root / "x/sub"), (root / "x/sub").stat().st_uid) == (0o711, 3)


def test_octal_modes_are_for_new_directories_too_without_special_bits(
    source: Path, root: Path
) -> None:
    copy(source, "dir", root, "/a/b", mode=parse_mode("2751"))

    assert [mode(root / each) for each in ("a", "a/b")] == [0o751, 0o751]
    assert [mode(root / each) for each in ("a/b/sub", "a/b/file")] == [0o2751, 0o2751]


def test_symbolic_modes_are_not_for_new_directories(source: Path, root: Path) -> None:
    copy(source, "dir", root, "/a/b", mode=parse_mode("go="))

    assert [mode(root / each) for each in ("a", "a/b", "a/b/sub")] == [0o755, 0o755, 0o700]


def test_a_directory_as_itself_keeps_its_metadata_where_it_is_new(source: Path, root: Path) -> None:
    tree = SourceTree(root=source, is_context=True)
    copier = Copier(source=tree, root=root, mode=parse_mode("4711"))
    copier.copy(find_literal(tree, "dir"), "/a/new", as_itself=True)
    copier.copy(find_literal(tree, "dir"), "/b/", as_itself=True)

    modes = [mode(root / each) for each in ("a", "a/new", "b", "b/dir")]
    assert modes == [0o711, 0o4711, 0o711, 0o4711]
    assert [(root / each).stat().st_mtime for each in ("a/new", "b/dir")] == [OLD, OLD]


def test_only_files_stay_one_file_under_two_names(source: Path, root: Path) -> None:
    os.link(source / "dir/link", source / "dir/link2", follow_symlinks=False)
    copy(source, "dir", root, "/x")

    assert (root / "x/link").lstat().st_ino != (root / "x/link2").lstat().st_ino


def test_a_link_is_replaced_where_its_directory_is_named(source: Path, root: Path) -> None:
    (root / "x").mkdir()
    (root / "x/file").symlink_to("/elsewhere")
    copy(source, "dir/file", root, "/x/")

    assert (root / "x/file").read_text() == "content"
    assert not (root / "x/file").is_symlink()


def test_a_link_is_followed_where_it_is_named(source: Path, root: Path) -> None:
    (root / "alias").symlink_to("/real/deep")
    copy(source, "dir/file", root, "/alias")

    assert paths(root) == ["alias", "real", "real/deep"]
    assert os.readlink(root / "alias") == "/real/deep"


def test_a_directory_over_a_link_to_a_directory_is_refused(source: Path, root: Path) -> None:
    (root / "real").mkdir()
    (root / "sub").symlink_to("real")
    with pytest.raises(InputError, match="cannot copy to non-directory: /sub"):
        copy(source, "dir", root, "/")


def test_directories_whose_names_begin_with_a_dot(source: Path, root: Path) -> None:
    copy(source, "dir/file", root, "/.a/.b")
    copy(source, "dir", root, "/.c")

    assert {".a/.b", ".c/file"} <= set(paths(root))


def special_files(directory: Path) -> None:
    os.mkfifo(directory / "pipe", 0o640)
    os.mknod(directory / "device", stat.S_IFCHR | 0o600, os.makedev(1, 3))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(directory / "sock"))


@pytest.mark.root
def test_special_files_of_a_context(source: Path, root: Path) -> None:
    special_files(source / "dir/sub")
    copy(source, "dir", root, "/x")

    assert mode(root / "x/sub/pipe") == 0o640
    assert stat.S_ISFIFO((root / "x/sub/pipe").lstat().st_mode)
    assert (root / "x/sub/device").lstat().st_rdev == os.makedev(1, 3)
    assert not (root / "x/sub/sock").exists()


@pytest.mark.root
def test_a_socket_of_a_stage_becomes_an_empty_file(source: Path, root: Path) -> None:
    special_files(source / "dir/sub")
    Copier(source=SourceTree(root=source), root=root).copy(
        find_literal(SourceTree(root=source), "dir"), "/x"
    )

    found = (root / "x/sub/sock").lstat()
    assert (stat.S_ISREG(found.st_mode), found.st_size) == (True, 0)
    assert stat.S_IMODE(found.st_mode) == mode(source / "dir/sub/sock")


def test_a_device_that_is_only_recorded_stays_one(source: Path, root: Path) -> None:
    # What a device is where this user may make none.
    (source / "dir/null").touch()
    os.setxattr(source / "dir/null", NODE_XATTR, b"c:1:3")
    tree = SourceTree(root=source)
    Copier(source=tree, root=root).copy(find_literal(tree, "dir"), "/x")

    kind, device = get_node(root / "x/null", (root / "x/null").lstat())
    assert (stat.S_ISCHR(kind), device) == (True, os.makedev(1, 3))


def large_files(directory: Path) -> dict[str, bytes]:
    contents = {f"{number}/large": bytes([number]) * (5 << 20) for number in range(5)}
    for name, content in contents.items():
        path = directory / name
        path.parent.mkdir(parents=True)
        path.write_bytes(content)
        path.chmod(0o640)
        os.utime(path, (OLD, OLD))
        os.utime(path.parent, (OLD, OLD))
    return contents


def test_large_files_are_copied_side_by_side(source: Path, root: Path) -> None:
    contents = large_files(source / "dir/all")
    os.link(source / "dir/all/1/large", source / "dir/all/twin")
    opened = os.listdir("/proc/self/fd")

    copy(source, "dir", root, "/x")

    for name, content in contents.items():
        path = root / "x/all" / name
        assert path.read_bytes() == content
        assert (mode(path), path.stat().st_mtime, path.parent.stat().st_mtime) == (0o640, OLD, OLD)
    assert (root / "x/all/twin").stat().st_ino == (root / "x/all/1/large").stat().st_ino
    assert os.listdir("/proc/self/fd") == opened


def test_a_large_file_that_changes_meanwhile_is_told(
    source: Path, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    large_files(source / "dir/all")
    tree = SourceTree(root=source, is_context=True)
    (entry,) = find_sources(tree, "dir")
    selected = list(select(tree, entry.path))
    opened = os.listdir("/proc/self/fd")
    copier = Copier(source=tree, root=root)
    directory = TargetDirectory(
        path=str(root), source=tree.directory(str(source / "dir/all/3")), is_new=True
    )
    (found,) = (each for each in selected if each.inside == "all/3/large")
    copier.copy_file(found, directory, "large")
    (source / "dir/all/3/large").write_bytes(b"another")
    with pytest.raises(InputError, match="changed"):
        copier.finish_large()
    directory.close()

    assert os.listdir("/proc/self/fd") == opened
