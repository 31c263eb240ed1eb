import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from polyarch.errors import InternalError, NotFound
from polyarch.snapshot.native import NativeSnapshotter
from polyarch.snapshot.snapshotter import SnapshotID
from polyarch.store.layerform import is_opaque
from polyarch.store.store import Store
from tests.support.images.trees import look_at, plant

BASE, TOP, NEW = SnapshotID("base"), SnapshotID("top"), SnapshotID("new")


@pytest.fixture
def native(tmp_path: Path) -> NativeSnapshotter:
    snapshots = NativeSnapshotter(Store(tmp_path / "store"))
    files = {"d/a": "1", "d/b": "1", "e/x": "1", "gone/x": "1", "l": "-> d"}
    snapshots.unpack(BASE, lambda directory: plant(directory, files))
    return snapshots


def test_a_draft_keeps_only_changes(native: NativeSnapshotter) -> None:
    with native.prepare([BASE]) as draft:
        root = draft.root
        (root / "d/a").write_text("2")
        (root / "d/b").unlink()
        (root / "gone/x").unlink()
        (root / "gone").rmdir()
        (root / "e").rename(root / "f")
        plant(root / "e", {"y": "1"})
        plant(root / "n", {"z": "1"})
        draft.commit(NEW)

    assert look_at(native.path(NEW)) == {
        "d": None,
        "d/a": "2",
        "d/b": "(whiteout)",
        "e": None,
        "e/y": "1",
        "f": None,
        "f/x": "1",
        "gone": "(whiteout)",
        "n": None,
        "n/z": "1",
    }
    assert is_opaque(f"{native.path(NEW)}/e")
    with native.view([BASE, NEW]) as tree:
        assert look_at(tree) == {
            "d": None,
            "d/a": "2",
            "e": None,
            "e/y": "1",
            "f": None,
            "f/x": "1",
            "l": "-> d",
            "n": None,
            "n/z": "1",
        }


def test_a_draft_without_changes_is_empty(native: NativeSnapshotter) -> None:
    with native.prepare([BASE]) as draft:
        draft.commit(NEW)

    assert look_at(native.path(NEW)) == {}


def test_a_change_that_hides_its_time_is_found(native: NativeSnapshotter) -> None:
    with native.prepare([BASE]) as draft:
        file = draft.root / "d/a"
        before = file.stat()
        file.write_text("2")
        os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
        draft.commit(NEW)

    assert look_at(native.path(NEW)) == {"d": None, "d/a": "2"}


def test_a_draft_over_nothing_is_its_own_view(native: NativeSnapshotter) -> None:
    with native.prepare([]) as draft:
        assert draft.root == draft.upper
        plant(draft.root, {"f": "1"})
        draft.commit(NEW)
    with native.view([NEW]) as tree:
        assert tree == native.path(NEW)


def test_an_unmerged_draft_is_the_layer_alone(native: NativeSnapshotter) -> None:
    with native.prepare([BASE], merged=False) as draft:
        plant(draft.root, {"f": "1"})
        draft.commit(NEW)

    assert look_at(native.path(NEW)) == {"f": "1"}


@contextmanager
def abandoned(native: NativeSnapshotter) -> Iterator[None]:
    with native.prepare([BASE]) as draft:
        plant(draft.root, {"f": "1"})
        yield


def test_what_is_not_committed_is_gone(native: NativeSnapshotter, tmp_path: Path) -> None:
    with pytest.raises(KeyError), abandoned(native):
        raise KeyError

    assert os.listdir(tmp_path / "store/snapshots") == ["base"]
    assert [os.listdir(path) for path in (tmp_path / "store/tmp").glob("*/layers-*")] == [[]]


def test_the_first_commit_stays(native: NativeSnapshotter) -> None:
    for text in ("first", "second"):
        with native.prepare([]) as draft:
            plant(draft.root, {"f": text})
            draft.commit(NEW)

    assert look_at(native.path(NEW)) == {"f": "first"}


def test_unpack_that_fails_leaves_nothing(native: NativeSnapshotter) -> None:
    def fill(directory: Path) -> None:
        plant(directory, {"f": "1"})
        raise KeyError

    with pytest.raises(KeyError):
        native.unpack(NEW, fill)
    assert not native.exists(NEW)


def test_processes_that_unpack_the_same_at_once(native: NativeSnapshotter) -> None:
    children = []
    for _ in range(4):
        child = os.fork()
        if child == 0:
            native.unpack(
                NEW, lambda directory: plant(directory, {f"f{n}": "1" for n in range(200)})
            )
            os._exit(0)
        children.append(child)

    assert [os.waitpid(child, 0)[1] for child in children] == [0, 0, 0, 0]
    assert len(look_at(native.path(NEW))) == 200


def test_remove_and_usage(native: NativeSnapshotter) -> None:
    size = native.usage(BASE)
    native.remove(BASE)
    native.remove(BASE)

    assert size > 4 * 4096
    with pytest.raises(NotFound, match="the snapshot base isn't in the store"):
        native.path(BASE)


def test_a_name_with_a_slash_is_a_bug(native: NativeSnapshotter) -> None:
    with pytest.raises(InternalError):
        native.path(SnapshotID("../x"))


def test_hard_links_survive_the_copy(native: NativeSnapshotter) -> None:
    def fill(directory: Path) -> None:
        plant(directory, {"a": "1"})
        os.link(directory / "a", directory / "b")

    native.unpack(TOP, fill)
    with native.view([BASE, TOP]) as tree:
        assert (tree / "a").stat().st_ino == (tree / "b").stat().st_ino
