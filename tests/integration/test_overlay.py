"""Real overlay mounts, in mount namespaces of children: as root and in a user namespace."""

import io
import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from polyarch.errors import NotFound
from polyarch.layer.apply import apply
from polyarch.layer.changes import write_layer
from polyarch.layer.tarread import TarReader
from polyarch.snapshot.choose import open_snapshotter
from polyarch.snapshot.snapshotter import SnapshotID, Snapshotter
from polyarch.store.layerform import is_opaque
from polyarch.store.store import Store
from tests.support.images.trees import look_at, plant
from tests.support.machine.namespaces import in_mount_namespace, in_user_namespace

pytestmark = [pytest.mark.root, pytest.mark.runtime]

Enter = Callable[[Callable[[], object]], None]
BASE, TOP, NEW = SnapshotID("base"), SnapshotID("top"), SnapshotID("new")
either = pytest.mark.parametrize(
    "enter", [in_mount_namespace, in_user_namespace], ids=["root", "user"]
)


def opened(root: Path) -> Snapshotter:
    snapshots = open_snapshotter(Store(root), "overlay")
    files = {"d/a": "1", "d/b": "1", "e/x": "1", "gone/x": "1"}
    snapshots.unpack(BASE, lambda directory: plant(directory, files))
    snapshots.unpack(TOP, lambda directory: plant(directory, {"t": "1"}))
    return snapshots


def change(root: Path) -> None:
    (root / "d/a").write_text("2")
    (root / "d/b").unlink()
    (root / "e/x").unlink()
    (root / "e").rmdir()
    plant(root / "e", {"y": "1"})
    (root / "gone/x").unlink()
    (root / "gone").rmdir()
    (root / "t").chmod(0o755)
    (root / "t").chmod(0o644)


@either
def test_a_draft_becomes_a_layer(tmp_path: Path, enter: Enter) -> None:
    def work() -> None:
        snapshots = opened(tmp_path)
        with snapshots.prepare([BASE, TOP]) as draft:
            change(draft.root)
            draft.commit(NEW)
        layer = snapshots.path(NEW)
        assert look_at(layer) == {
            "d": None,
            "d/a": "2",
            "d/b": "(whiteout)",
            "e": None,
            "e/y": "1",
            "gone": "(whiteout)",
            "t": "1",
        }
        assert is_opaque(f"{layer}/e")
        out = io.BytesIO()
        write_layer(layer, [snapshots.path(BASE), snapshots.path(TOP)], out)
        names = [entry.name for entry in TarReader(io.BytesIO(out.getvalue()))]
        assert names == ["d", "d/a", "d/.wh.b", "e", "e/.wh.x", "e/y", ".wh.gone"]
        with snapshots.view([BASE, TOP, NEW]) as tree:
            merged = look_at(tree)
        assert merged == {"d": None, "d/a": "2", "e": None, "e/y": "1", "t": "1"}

    enter(work)
    store = Store(tmp_path)
    assert (os.listdir(tmp_path / "tmp"), len(os.listdir(store.snapshots_directory))) == ([], 3)


@either
def test_a_layer_made_from_its_tar_looks_the_same(tmp_path: Path, enter: Enter) -> None:
    def work() -> None:
        snapshots = opened(tmp_path)
        with snapshots.prepare([BASE, TOP]) as draft:
            change(draft.root)
            draft.commit(NEW)
        out = io.BytesIO()
        write_layer(snapshots.path(NEW), [snapshots.path(BASE), snapshots.path(TOP)], out)
        again = SnapshotID("again")
        snapshots.unpack(again, lambda directory: apply(io.BytesIO(out.getvalue()), directory))
        with snapshots.view([BASE, TOP, NEW]) as one, snapshots.view([BASE, TOP, again]) as other:
            assert look_at(one) == look_at(other)

    enter(work)


@either
def test_owners_in_a_layer_survive(tmp_path: Path, enter: Enter) -> None:
    def work() -> None:
        snapshots = opened(tmp_path)
        out = io.BytesIO()
        with snapshots.prepare([]) as draft:
            plant(draft.root, {"f": "1"})
            os.setxattr(draft.root / "f", "user.polyarch.owner", b"1000:1001")
            write_layer(draft.upper, [], out)
        with snapshots.prepare([]) as draft:
            apply(io.BytesIO(out.getvalue()), draft.upper)
            again = io.BytesIO()
            write_layer(draft.upper, [], again)
        entries = TarReader(io.BytesIO(again.getvalue()))
        assert [(e.name, e.uid, e.gid) for e in entries] == [("f", 1000, 1001)]
        assert again.getvalue() == out.getvalue()

    enter(work)


@either
def test_a_layer_of_whiteouts_alone_has_an_empty_view(tmp_path: Path, enter: Enter) -> None:
    def work() -> None:
        snapshots = opened(tmp_path)
        snapshots.unpack(NEW, lambda directory: os.mknod(directory / "w", 0o020000))
        with snapshots.view([NEW]) as tree:
            assert os.listdir(tree) == []
        with snapshots.view([]) as tree:
            assert os.listdir(tree) == []

    enter(work)


@either
def test_a_layer_that_comes_twice(tmp_path: Path, enter: Enter) -> None:
    def work() -> None:
        snapshots = opened(tmp_path)
        snapshots.unpack(NEW, lambda directory: plant(directory, {"d/a": "2", "n": "1"}))
        for stack in ([BASE, TOP, TOP], [TOP, BASE, NEW, BASE]):
            with snapshots.view(stack) as root:
                assert (root / "t").read_text() == "1"
                assert (root / "d/a").read_text() == "1"
                assert (root / "n").exists() == (NEW in stack)

    enter(work)


def test_four_hundred_layers(tmp_path: Path) -> None:
    def work() -> None:
        snapshots = open_snapshotter(Store(tmp_path), "overlay")
        stack = [SnapshotID(f"sha256:{number:064x}") for number in range(400)]
        for number, snapshot in enumerate(stack):
            snapshots.unpack(snapshot, partial(plant, files={f"f{number}": "1"}))
        with snapshots.prepare(stack) as draft:
            assert len(os.listdir(draft.root)) == 400

    in_mount_namespace(work)


def test_a_layer_that_went_after_it_was_found(tmp_path: Path) -> None:
    def work() -> None:
        snapshots = opened(tmp_path)
        with snapshots.prepare([BASE, TOP]):
            pass
        Store(tmp_path).discard(tmp_path / "snapshots" / BASE)
        with pytest.raises(NotFound, match="the snapshot base isn't in the store"):
            snapshots.prepare([BASE, TOP]).__enter__()

    in_mount_namespace(work)


@either
def test_a_draft_leaves_nothing_beside_its_layer(tmp_path: Path, enter: Enter) -> None:
    def work() -> None:
        store = Store(tmp_path)
        snapshots = open_snapshotter(store, "overlay")
        snapshots.unpack(BASE, lambda directory: plant(directory, {"d/a": "1"}))
        with snapshots.prepare([BASE]) as draft:
            (draft.root / "d/a").unlink()
            draft.commit(NEW)
        with snapshots.prepare([BASE]) as draft:
            (draft.root / "d/a").unlink()
        assert [path for path in store.scratch.rglob("*") if path.parent != store.scratch] == []

    enter(work)


def test_a_killed_draft_leaves_nothing(tmp_path: Path) -> None:
    in_mount_namespace(lambda: opened(tmp_path))
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:

        def work() -> None:
            with open_snapshotter(Store(tmp_path)).prepare([BASE, TOP]) as draft:
                change(draft.root)
                os.write(writer, b".")
                os.kill(os.getpid(), signal.SIGKILL)

        try:
            in_mount_namespace(work)
        finally:
            os._exit(0)
    os.read(reader, 1)
    os.waitpid(child, 0)
    store = Store(tmp_path)

    assert os.listdir(tmp_path / "tmp") == []
    assert sorted(os.listdir(store.snapshots_directory)) == ["base", "top"]


def test_native_and_overlay_make_the_same_layer(tmp_path: Path) -> None:
    def work() -> None:
        tars = []
        for name in ("overlay", "native"):
            opened(tmp_path / name)
            snapshots = open_snapshotter(Store(tmp_path / name), name)
            with snapshots.prepare([BASE, TOP]) as draft:
                change(draft.root)
                for path in [draft.root, *draft.root.rglob("*")]:
                    if path.name in ("d", "a", "e", "y"):
                        os.utime(path, (5, 5))
                upper = draft.seal()
                out = io.BytesIO()
                write_layer(upper, [snapshots.path(BASE), snapshots.path(TOP)], out)
            tars.append(out.getvalue())
        assert tars[0] == tars[1]

    in_mount_namespace(work)


def test_auto_picks_the_kernel(tmp_path: Path) -> None:
    def work() -> None:
        assert open_snapshotter(Store(tmp_path)).name == "overlay"

    in_mount_namespace(work)
