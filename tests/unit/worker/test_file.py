"""File ops as a whole: what `perform` leaves in a tree."""

import os
import stat
from pathlib import Path

import pytest

from polyarch.errors import InputError, NotFound
from polyarch.graph.actions import (
    CopyAction,
    FileAction,
    Manner,
    MkdirAction,
    MkfileAction,
    RmAction,
    SymlinkAction,
)
from polyarch.record import replace
from polyarch.worker.file import perform
from polyarch.worker.tree import SourceTree

OLD = 1_600_000_000
EPOCH = 1_000_000_000


@pytest.fixture
def source(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    (root / "base/in").mkdir(parents=True)
    (root / "base/in/file").write_text("content")
    for path in (root / "base/in/file", root / "base/in", root / "base", root):
        os.utime(path, (OLD, OLD))
    return root


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "root"
    path.mkdir()
    return path


def times(root: Path) -> dict[str, float]:
    return {str(path.relative_to(root)): path.stat().st_mtime for path in sorted(root.rglob("*"))}


def do(action: FileAction, root: Path, source: Path) -> None:
    perform([action], root, [None, SourceTree(root=source, is_context=True)])


def test_an_epoch_dates_the_directories_on_the_way(source: Path, root: Path) -> None:
    action = CopyAction(input=1, sources=("base/in",), destination="/a/b/c", created=EPOCH)
    do(action, root, source)

    assert times(root) == {"a": EPOCH, "a/b": EPOCH, "a/b/c": OLD, "a/b/c/file": OLD}


def test_an_epoch_dates_made_directories_only(source: Path, root: Path) -> None:
    (root / "there").mkdir()
    os.utime(root / "there", (OLD, OLD))

    do(MkdirAction(path="/there/new/er", created=EPOCH), root, source)

    found = times(root)
    assert found.pop("there") not in {OLD, EPOCH}
    assert found == {"there/new": EPOCH, "there/new/er": EPOCH}


def test_parents_date_the_destination_like_the_directory_they_start_from(
    source: Path, root: Path
) -> None:
    (root / "there").mkdir()
    action = CopyAction(input=1, sources=("base/./in/*",), destination="/there/", parents=True)
    do(action, root, source)

    assert times(root) == {"there": OLD, "there/in": OLD, "there/in/file": OLD}


def test_a_document_s_directories_have_its_mode(source: Path, root: Path) -> None:
    do(MkfileAction(path="/a/b", name="EOF", data="x", mode="0711", created=EPOCH), root, source)

    modes = [stat.S_IMODE((root / name).stat().st_mode) for name in ("a", "a/b")]
    assert modes == [0o711, 0o711]
    assert (root / "a").stat().st_mtime == EPOCH


def content(root: Path) -> dict[str, str]:
    """Return what is in a tree: directories as "", links as what they lead to."""
    return {
        str(path.relative_to(root)): os.readlink(path)
        if path.is_symlink()
        else path.read_text()
        if path.is_file()
        else ""
        for path in sorted(root.rglob("*"))
    }


def test_files_are_removed(source: Path, root: Path) -> None:
    for name in ("a1", "a2", "b"):
        (root / name).mkdir()
        (root / name / "in").write_text("x")
    (root / "link").symlink_to("b")

    do(RmAction(path="/a*", has_patterns=True), root, source)
    do(RmAction(path="none*", has_patterns=True), root, source)
    do(RmAction(path="/link"), root, source)
    do(RmAction(path="/gone", may_be_missing=True), root, source)

    assert content(root) == {"b": "", "b/in": "x"}
    with pytest.raises(NotFound, match="rm /gone: no such file"):
        do(RmAction(path="/gone"), root, source)
    with pytest.raises(InputError, match="empty path"):
        do(RmAction(path="/b/.."), root, source)


def test_what_is_removed_is_in_the_tree(source: Path, root: Path, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/kept").write_text("kept")
    (root / "out").symlink_to(tmp_path / "outside")
    (root / "in").symlink_to("/")
    (root / "gone").write_text("x")

    do(RmAction(path="/in/gone"), root, source)

    assert not (root / "gone").exists()
    with pytest.raises(NotFound):
        do(RmAction(path="/out/kept"), root, source)
    assert (tmp_path / "outside/kept").read_text() == "kept"


def test_links_are_made(source: Path, root: Path) -> None:
    do(SymlinkAction(path="/link", target="to/nothing", created=EPOCH), root, source)

    assert os.readlink(root / "link") == "to/nothing"
    assert (root / "link").lstat().st_mtime == EPOCH
    (root / "file").touch()
    with pytest.raises(InputError, match="file exists"):
        do(SymlinkAction(path="/file", target="x"), root, source)
    with pytest.raises(NotFound, match="no such file"):
        do(SymlinkAction(path="/none/link", target="x"), root, source)


def test_a_file_at_its_path(source: Path, root: Path) -> None:
    made = MkfileAction(path="/f", name="f", data="1", mode="600", created=EPOCH, is_exact=True)
    do(made, root, source)
    do(replace(made, data="2", mode="644"), root, source)

    status = (root / "f").stat()
    assert (stat.S_IMODE(status.st_mode), status.st_mtime) == (0o600, EPOCH)
    assert content(root) == {"f": "2"}
    for path, error in (("/none/f", NotFound), ("/", InputError)):
        with pytest.raises(error):
            do(replace(made, path=path), root, source)


def test_directories_that_have_to_be_there(source: Path, root: Path) -> None:
    copy = CopyAction(input=1, sources=("base",), destination="/a/b", makes_parents=False)
    for action in (MkdirAction(path="/a/b", makes_parents=False), copy):
        with pytest.raises(NotFound, match="no such file"):
            do(action, root, source)
    do(MkdirAction(path="/a", makes_parents=False), root, source)
    do(copy, root, source)

    assert content(root) == {"a": "", "a/b": "", "a/b/in": "", "a/b/in/file": "content"}


def test_a_directory_as_itself_goes_into_one_that_is_there(source: Path, root: Path) -> None:
    copy = CopyAction(input=1, sources=("/base",), destination="/to", manner=Manner())
    do(copy, root, source)
    do(copy, root, source)

    inside = {"in": "", "in/file": "content"}
    assert content(root) == {
        "to": "",
        **{f"to/{name}": value for name, value in inside.items()},
        "to/base": "",
        **{f"to/base/{name}": value for name, value in inside.items()},
    }


def test_what_is_included_of_a_source(source: Path, root: Path) -> None:
    (source / "base/other.go").write_text("go")
    (source / "base/in/some.go").write_text("go")
    copy = CopyAction(
        input=1,
        sources=("/base",),
        destination="/to/",
        manner=Manner(takes_contents=True),
        include=("**/*.go",),
        exclude=("other*",),
        required=("in/some.go",),
    )
    do(copy, root, source)

    assert content(root) == {"to": "", "to/in": "", "to/in/some.go": "go"}
    with pytest.raises(NotFound, match="none"):
        do(replace(copy, required=("none",)), root, source)


def test_links_and_patterns_only_where_they_are_wanted(source: Path, root: Path) -> None:
    (source / "link").symlink_to("base/in/file")
    (source / "l*").write_text("star")

    def copy(to: str, manner: Manner) -> None:
        do(CopyAction(input=1, sources=("l*",), destination=to, manner=manner), root, source)

    copy("/literal", Manner())
    copy("/matched/", Manner(has_patterns=True))
    copy("/followed/", Manner(has_patterns=True, follows_links=True))

    assert content(root) == {
        "literal": "star",
        "matched": "",
        "matched/l*": "star",
        "matched/link": "base/in/file",
        "followed": "",
        "followed/l*": "star",
        "followed/link": "content",
    }
    nothing = CopyAction(
        input=1,
        sources=("x*",),
        destination="/",
        manner=Manner(has_patterns=True),
        may_be_empty=False,
    )
    with pytest.raises(NotFound, match=r"x\* not found"):
        do(nothing, root, source)


def test_what_is_in_the_way_goes_if_that_is_wanted(source: Path, root: Path) -> None:
    (source / "base/file").write_text("new")
    (root / "to/file").mkdir(parents=True)
    (root / "to/file/old").write_text("old")
    (root / "to/in").write_text("old")
    copy = CopyAction(
        input=1, sources=("/base",), destination="/to", manner=Manner(takes_contents=True)
    )
    with pytest.raises(InputError):
        do(copy, root, source)

    do(replace(copy, replaces=True), root, source)

    assert content(root) == {"to": "", "to/file": "new", "to/in": "", "to/in/file": "content"}


@pytest.mark.root
@pytest.mark.parametrize(
    ("action", "group"),
    [
        (MkdirAction(path="/shared/a/b", mode=0o755), 7),
        (MkdirAction(path="/shared/a/b", mode=0o755, owner="3:4"), 4),
        (CopyAction(input=1, sources=("base/in",), destination="/shared/a/b"), 7),
        (MkfileAction(name="b", path="/shared/a/", data="", mode=""), 7),
        (MkfileAction(name="", path="/shared/a", data="", mode="644", is_exact=True), 7),
        (SymlinkAction(path="/shared/a", target="b"), 7),
    ],
    ids=lambda each: type(each).__name__,
)
def test_a_directory_for_a_group(source: Path, root: Path, action: FileAction, group: int) -> None:
    """What is made in a directory with the setgid bit is its group's, as the kernel has it."""
    shared = root / "shared"
    shared.mkdir()
    os.chown(shared, 5, 7)
    shared.chmod(0o2775)

    do(action, root, source)

    made = os.lstat(shared / "a")
    owner = 3 if group == 4 else 0
    assert (made.st_uid, made.st_gid) == (owner, group)
    if stat.S_ISDIR(made.st_mode):
        assert stat.S_IMODE(made.st_mode) == 0o2755
