"""What is remembered of a context: never another content than that of a fresh look, and read once."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyarch.digest import Digest
from polyarch.errors import InputError
from polyarch.graph.op import CopyAction
from polyarch.look import Status
from polyarch.store.store import Store
from polyarch.text.ignore import Matcher
from polyarch.worker.contenthash import digest_of_copy
from polyarch.worker.copy import Copier
from polyarch.worker.source_local import ContextDigests, open_context
from polyarch.worker.steady import SteadyDirectory
from polyarch.worker.tree import SourceTree, find_path, hash_link
from tests.support.images.trees import MTIME, look_at, plant

FILES: dict[str, str | None] = {"a": "1", "d/b": "2", "d/c": "3", "d/l": "-> a", "d/e": None}
ALL = CopyAction(input=1, sources=(".",), destination="/")
LARGE = "x" * 70_000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def context(tmp_path: Path) -> Path:
    return settled(plant(tmp_path / "context", FILES))


def settled(root: Path) -> Path:
    """Wait until files that are changed now have another time than those that were."""
    changed = max(path.lstat().st_ctime_ns for path in (root, *root.rglob("*")))
    while time.time_ns() - changed < 30_000_000:
        os.sched_yield()
    return root


class Counting(ContextDigests):
    """Counts the files that are read."""

    read = 0

    def _hash(self, directory: SteadyDirectory, name: str, status: Status) -> bytes:
        self.read += 1
        return super()._hash(directory, name, status)


def built(
    store: Store, root: Path, action: CopyAction = ALL, ignored: str = ""
) -> tuple[Digest, int]:
    """Digest a context as a build does; return that, and how many files were read for it."""
    digests = Counting(store.stat_index, root)
    tree = open_context(root, Matcher([ignored]) if ignored else None, digests)
    digest = digest_of_copy(tree, action)
    digests.save()
    return digest, digests.read


def fresh(root: Path, action: CopyAction = ALL) -> Digest:
    return digest_of_copy(SourceTree(root=root, is_context=True), action)


def test_what_is_unchanged_is_not_read_again(store: Store, context: Path) -> None:
    first, again = built(store, context), built(store, context)

    assert first == (fresh(context), 3)
    assert again == (first[0], 0)


def test_only_what_was_edited_is_read_again(store: Store, context: Path) -> None:
    built(store, context)
    (context / "d/b").write_text("other")

    assert built(store, settled(context)) == (fresh(context), 1)
    assert built(store, context) == (fresh(context), 0)


def test_large_files_of_a_directory_are_read_together(store: Store, context: Path) -> None:
    for name in "fgh":
        (context / "d" / name).write_bytes(name.encode() * (1 << 20))
    first = built(store, settled(context))
    (context / "d/g").write_bytes(b"G" * (1 << 20))
    settled(context)

    assert first[0] != built(store, context)[0] == fresh(context)
    assert built(store, context) == (fresh(context), 0)


def test_a_large_file_that_changes_while_it_is_read_is_told_of(store: Store, context: Path) -> None:
    for name in "fgh":
        (context / "d" / name).write_bytes(name.encode() * (1 << 20))
    digests = ContextDigests(store.stat_index, context)
    tree = open_context(context, None, digests)
    listing = tree.listing(str(context / "d"))
    (context / "d/g").write_bytes(b"more" * (1 << 20))

    with pytest.raises(InputError, match=r"context/d/g changed while it was read"):
        digests.of_directory(str(context / "d"), listing, lambda _listing, _contents: b"")


def test_an_edit_that_keeps_size_and_time_is_seen(store: Store, context: Path) -> None:
    before = built(store, context)
    (context / "d/b").write_text("9")
    os.utime(context / "d/b", (MTIME, MTIME))

    assert built(store, context) == (fresh(context), 1)
    assert fresh(context) != before[0]


def test_a_mode_is_seen_without_reading_more_than_that_file(store: Store, context: Path) -> None:
    before = built(store, context)
    (context / "d/e").chmod(0o700)
    after = built(store, context)

    assert after == (fresh(context), 0)
    assert after != before


def test_what_vanished_is_forgotten(store: Store, context: Path) -> None:
    built(store, context)
    (context / "d/b").unlink()
    (context / "d/e").rmdir()

    assert built(store, context) == (fresh(context), 0)
    assert sorted(store.stat_index.load(str(context))[f"{context}/d"].names) == ["c", "l"]
    assert f"{context}/d/e" not in store.stat_index.load(str(context))


@pytest.mark.parametrize("ignored", ["d/b", "d"])
def test_what_another_build_ignores_stays_known(store: Store, context: Path, ignored: str) -> None:
    whole = built(store, context)
    (context / "a").write_text("9")
    settled(context)

    assert built(store, context, ignored=ignored)[1] == 1
    assert built(store, context) == (fresh(context), 0)
    assert whole[0] != fresh(context)


def test_single_files_are_remembered_with_those_of_whole_directories(
    store: Store, context: Path
) -> None:
    one = CopyAction(input=1, sources=("d/b",), destination="/")
    some = CopyAction(input=1, sources=("d",), destination="/", exclude=("b",))

    assert [built(store, context, action)[1] for action in (one, some, some, one)] == [1, 1, 0, 0]
    assert built(store, context) == (fresh(context), 1)
    assert [built(store, context, action) for action in (one, some, ALL)] == [
        (fresh(context, action), 0) for action in (one, some, ALL)
    ]


def test_what_just_changed_is_read_again(store: Store, context: Path) -> None:
    (context / "a").write_text("now")
    digests = Counting(store.stat_index, context)
    digest_of_copy(open_context(context, None, digests), ALL)
    digests.save()

    assert built(store, context)[1] == 1


def test_times_of_many_bits_are_read_each_time(store: Store, context: Path) -> None:
    os.utime(context / "a", ns=(0, 10**19))
    settled(context)
    times = (context / "a").lstat().st_mtime_ns

    assert [built(store, context)[1] for _ in range(2)] == [3, int(times > 1 << 63)]


def test_special_files_and_large_ones(store: Store, context: Path) -> None:
    os.mkfifo(context / "pipe")
    (context / "large").write_text(LARGE)
    settled(context)

    assert built(store, context) == (fresh(context), 4)
    assert built(store, context) == (fresh(context), 0)


def test_two_steps_of_one_build_read_a_file_once(store: Store, context: Path) -> None:
    digests = Counting(store.stat_index, context)
    tree = open_context(context, None, digests)

    assert digest_of_copy(tree, ALL) == digest_of_copy(tree, ALL)
    assert digests.read == 3


def opened(store: Store, root: Path) -> tuple[SourceTree, ContextDigests]:
    digests = ContextDigests(store.stat_index, root)
    tree = open_context(root, None, digests)
    digest_of_copy(tree, ALL)
    return tree, digests


def test_contents_are_known_by_name(store: Store, context: Path) -> None:
    _, digests = opened(store, context)

    assert digests.find(f"{context}/d", "l") == hash_link("a")
    assert digests.find(f"{context}/d", "e") == b""
    assert digests.find(f"{context}/d", "nothing") == digests.find("/else", "a") == b""


def test_small_files_are_copied_from_memory_once(store: Store, context: Path) -> None:
    tree, digests = opened(store, context)
    (found,) = (each for each in tree.entries(context) if each.name == "a")

    assert digests.take(str(context), "a", found.status) == b"1"
    assert digests.take(str(context), "a", found.status) is None


def test_memory_is_of_what_was_seen(store: Store, context: Path) -> None:
    _, digests = opened(store, context)
    (context / "a").write_text("9")

    assert digests.take(str(context), "a", (context / "a").lstat()) is None


def test_a_single_file_that_changed_since_its_digest_is_not_copied(
    store: Store, context: Path, tmp_path: Path
) -> None:
    (context / "a").write_text(LARGE)
    tree, _ = opened(store, context)
    one = CopyAction(input=1, sources=("a",), destination="/")
    digest_of_copy(tree, one)
    (context / "a").write_text(LARGE.upper())

    (tmp_path / "root").mkdir()
    with pytest.raises(InputError, match=r"context/a changed while it was read"):
        Copier(source=tree, root=tmp_path / "root").copy(find_path(tree, "a"), "/a")


NAMES = st.sampled_from(["a", "b", "d/a", "d/b", "d/e/a", "f"])
TEXTS = st.none() | st.sampled_from(["", "1", "2", "-> a", "-> b"])
EDITS = st.lists(st.tuples(NAMES, TEXTS), max_size=4)


def edit(root: Path, name: str, text: str | None) -> None:
    """Put something at a name, or remove what is there."""
    (root / name).unlink(missing_ok=True)
    if text is not None:
        plant(root, {name: text})


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with Store(tmp_path_factory.mktemp("shared")) as store:
        yield store


@given(rounds=st.lists(EDITS, min_size=1, max_size=4), ignored=st.sampled_from(["", "d/a", "d"]))
@settings(max_examples=40, deadline=None)
def test_a_remembered_digest_is_that_of_a_fresh_look(
    shared: Store, rounds: list[list[tuple[str, str | None]]], ignored: str
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory).resolve()
        for edits in rounds:
            for name, text in edits:
                edit(root, name, text)
            if ignored:
                built(shared, root, ignored=ignored)

            assert built(shared, root)[0] == fresh(root), look_at(root)
