"""Listings of files: read off a content digest, packed, compared."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.graph.op import CopyAction
from polyarch.request.explanation import Cause, CauseKind
from polyarch.why.listing import MOST_FILES, FileMark, differences, list_seen, pack, unpack
from polyarch.why.seen import Seen
from polyarch.worker.contenthash import digest_of_copy, digest_of_path
from polyarch.worker.tree import SourceTree
from polyarch.worker.unread import Unread

ALL = CopyAction(input=1, sources=("src",), destination="/src/")

marks = st.tuples(
    st.integers(0, 2**32 - 1),
    st.integers(0, 0o7777),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.binary(min_size=8, max_size=8),
    st.binary(min_size=4, max_size=4),
)
names = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "src/lib").mkdir(parents=True)
    (tmp_path / "src/main.c").write_text("main\n")
    (tmp_path / "src/lib/util.c").write_text("util\n")
    for path in (tmp_path / "src", *tmp_path.rglob("src/**/*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return tmp_path


def listed(root: Path, action: CopyAction = ALL) -> dict[str, FileMark]:
    seen = Seen(roots=[str(root)])
    digest_of_copy(SourceTree(root=root, is_context=True), action, seen.files.append)
    found = list_seen(seen)
    assert found is not None
    return found


def changes(root: Path, change: Callable[[Path], object]) -> list[Cause]:
    before = listed(root)
    change(root / "src")
    return list(differences(before, listed(root)))


def test_paths_are_those_below_the_root(tree: Path) -> None:
    assert sorted(listed(tree)) == ["src/lib", "src/lib/util.c", "src/main.c"]


def test_a_mount_lists_what_it_shows(tree: Path) -> None:
    seen = Seen(roots=[str(tree)])
    digest_of_path(SourceTree(root=tree, is_context=True), "src/lib", seen.files.append)

    assert list(list_seen(seen) or ()) == ["src/lib/util.c"]


def test_listing_is_no_part_of_the_digest(tree: Path) -> None:
    source = SourceTree(root=tree, is_context=True)

    assert digest_of_copy(source, ALL) == digest_of_copy(source, ALL, Seen().files.append)


def test_an_edited_file_is_named_with_both_digests(tree: Path) -> None:
    (change,) = changes(tree, lambda src: (src / "main.c").write_text("other\n"))

    assert (change.kind, change.what) == ("changed", "src/main.c")
    assert change.old.startswith("sha256:")
    assert change.old != change.new


def glanced(root: Path) -> dict[str, FileMark]:
    """List a tree in which large files aren't read."""
    seen, unread = Seen(roots=[str(root)]), Unread(str(root))
    source = SourceTree(root=root, file_digest=unread.digest)
    digest_of_copy(source, ALL, seen.files.append)
    return list_seen(seen) or {}


def test_an_unread_file_is_known_by_its_size(tree: Path) -> None:
    (tree / "src/main.c").write_text("x" * 70_000)
    (tree / "src/lib/util.c").write_text("x" * 70_000)
    before = unpack(pack(glanced(tree)))
    (tree / "src/main.c").write_text("y" * 70_000)
    same = glanced(tree)
    (tree / "src/main.c").write_text("x" * 70_001)
    (tree / "src/lib/util.c").write_text("1")

    assert list(differences(before, same)) == []
    larger, smaller = sorted(differences(before, glanced(tree)), key=lambda each: -len(each.what))
    assert larger.text() == "src/lib/util.c differs (70000 bytes → sha256:6b86b273ff34…)"
    assert smaller.text() == "src/main.c differs (70000 bytes → 70001 bytes)"


def test_an_unread_file_may_have_another_mode_or_type(tree: Path) -> None:
    for name in "main.c", "lib/util.c":
        (tree / "src" / name).write_text("x" * 70_000)
    before = glanced(tree)
    (tree / "src/main.c").chmod(0o600)
    (tree / "src/lib/util.c").unlink()
    (tree / "src/lib/util.c").mkdir()

    assert [each.text() for each in differences(before, glanced(tree))] == [
        "src/lib/util.c was a file and is a directory",
        "the mode of src/main.c differs: 0644 → 0600",
    ]


def test_an_unread_file_is_never_told_to_be_another_one_that_was_renamed(tree: Path) -> None:
    (tree / "src/main.c").write_text("x" * 70_000)
    before = glanced(tree)
    (tree / "src/main.c").rename(tree / "src/other.c")

    assert [each.kind for each in differences(before, glanced(tree))] == ["removed", "added"]


def test_a_touched_file_is_the_same(tree: Path) -> None:
    assert changes(tree, lambda src: os.utime(src / "main.c", (1, 1))) == []


def test_a_new_file_is_named(tree: Path) -> None:
    (change,) = changes(tree, lambda src: (src / "new.c").write_text("new\n"))

    assert change == Cause(kind=CauseKind.ADDED, what="src/new.c")


def test_a_removed_file_is_named(tree: Path) -> None:
    (change,) = changes(tree, lambda src: (src / "main.c").unlink())

    assert change == Cause(kind=CauseKind.REMOVED, what="src/main.c")


def test_a_renamed_file_is_one_change(tree: Path) -> None:
    (change,) = changes(tree, lambda src: (src / "main.c").rename(src / "lib/main.c"))

    assert (change.kind, change.old, change.new) == ("renamed", "src/main.c", "src/lib/main.c")


def test_empty_files_are_not_taken_for_renamed(tree: Path) -> None:
    (tree / "src/empty").touch(mode=0o644)

    found = changes(tree, lambda src: (src / "empty").rename(src / "other"))

    assert [each.kind for each in found] == ["removed", "added"]


def test_a_mode_is_told_with_old_and_new(tree: Path) -> None:
    (change,) = changes(tree, lambda src: (src / "main.c").chmod(0o755))

    assert change == Cause(kind=CauseKind.MODE, what="src/main.c", old="0644", new="0755")


def test_a_link_to_another_place_is_named(tree: Path) -> None:
    (tree / "src/link").symlink_to("main.c")

    def change(src: Path) -> None:
        (src / "link").unlink()
        (src / "link").symlink_to("lib/util.c")

    (found,) = changes(tree, change)

    assert (found.kind, found.what) == ("changed", "src/link")


def test_a_file_in_place_of_a_directory_is_named(tree: Path) -> None:
    (tree / "src/lib/util.c").unlink()

    def change(src: Path) -> None:
        (src / "lib").rmdir()
        (src / "lib").write_text("now a file\n")

    (found,) = changes(tree, change)

    assert found == Cause(kind=CauseKind.TYPE, what="src/lib", old="directory", new="file")


def test_an_owner_is_told_with_old_and_new() -> None:
    mark = (0o100000, 0o644, 0, 0, bytes(8), bytes(4))

    (found,) = differences({"a": mark}, {"a": (*mark[:2], 7, 8, *mark[4:])})

    assert found == Cause(kind=CauseKind.OWNER, what="a", old="0:0", new="7:8")


def test_attributes_are_told_of_without_their_values() -> None:
    mark = (0o100000, 0o644, 0, 0, bytes(8), bytes(4))

    (found,) = differences({"a": mark}, {"a": (*mark[:5], b"attr")})

    assert found == Cause(kind=CauseKind.CONTENT, what="a", old="its extended attributes")


def test_too_many_files_are_not_listed() -> None:
    seen = Seen()
    for group in ([("/a", b"40000 755 0 0")], [("/b", b"40000 755 0 0")] * MOST_FILES):
        seen.files.append(group)

    assert list_seen(seen) is None


@given(st.dictionaries(names, marks, max_size=8))
def test_what_is_packed_comes_out_again(listing: dict[str, FileMark]) -> None:
    assert unpack(pack(listing)) == listing


@given(st.dictionaries(names, marks, max_size=8))
def test_equal_listings_have_no_differences(listing: dict[str, FileMark]) -> None:
    assert list(differences(listing, dict(listing))) == []


@given(st.dictionaries(names, marks, max_size=6), st.dictionaries(names, marks, max_size=6))
def test_unequal_listings_have_differences(
    old: dict[str, FileMark], new: dict[str, FileMark]
) -> None:
    assert bool(list(differences(old, new))) == (old != new)


@given(st.binary(max_size=60))
def test_damaged_listings_are_told_apart(data: bytes) -> None:
    try:
        unpack(data)
    except ValueError:
        return
    assert data[:4] == bytes(4)
