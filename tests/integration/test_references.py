"""Copies of large files that refer to their sources: shown, changed, read and kept as what they stand for."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from polyarch.errors import StoreError
from polyarch.graph.op import CopyAction
from polyarch.layer.changes import write_layer
from polyarch.layer.tarread import TarReader
from polyarch.snapshot.choose import open_snapshotter
from polyarch.snapshot.snapshotter import SnapshotID, Snapshotter
from polyarch.store.checkup import check
from polyarch.store.gc import collect
from polyarch.store.policy import Policy
from polyarch.store.snapshots import SnapshotRecord
from polyarch.store.store import Store
from polyarch.worker.file import perform
from polyarch.worker.plot import find_plot, lay_out
from polyarch.worker.tree import SourceTree
from tests.support.images.trees import MTIME
from tests.support.machine.namespaces import in_mount_namespace, in_user_namespace
from tests.support.machine.programs import Person
from tests.support.network.servers import RealRegistry

pytestmark = [pytest.mark.root, pytest.mark.runtime]

Enter = Callable[[Callable[[], object]], None]
SIZE = (1 << 20) + 7
BIG, OTHER = b"big" * SIZE, b"another" * SIZE
SOURCE, ELSEWHERE, BASE, NEW, TOP = map(SnapshotID, ("source", "elsewhere", "base", "new", "top"))
either = pytest.mark.parametrize(
    "enter", [in_mount_namespace, in_user_namespace], ids=["root", "user"]
)


def put(snapshots: Snapshotter, name: SnapshotID, files: dict[str, bytes]) -> None:
    """Make a snapshot with files, the mode of each 4755 and its time a whole second."""

    def fill(directory: Path) -> None:
        for path, data in files.items():
            place = directory / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(data)
            place.chmod(0o4755)
            os.setxattr(place, "user.note", b"kept")
            os.utime(place, (MTIME, MTIME))

    snapshots.unpack(name, fill, SnapshotRecord(id=name))


def opened(root: Path) -> Snapshotter:
    snapshots = open_snapshotter(Store(root), "overlay")
    if not snapshots._mode.refers:  # type: ignore[attr-defined]
        pytest.skip("this kernel's overlayfs shows no data-only layers here")
    put(snapshots, SOURCE, {"out/big": BIG, "out/small": b"small"})
    put(snapshots, ELSEWHERE, {"out/big": OTHER})
    put(snapshots, BASE, {"bin/sh": b"shell"})
    return snapshots


def copy(
    snapshots: Snapshotter,
    source: Sequence[SnapshotID],
    below: Sequence[SnapshotID],
    name: SnapshotID,
    *words: str,
) -> None:
    """Make a snapshot by a copy between stages: sources and a destination, which has nothing in it."""
    *sources, destination = words
    action = CopyAction(input=1, sources=tuple(sources), destination=destination)
    plot = find_plot([action], [path for each in below for path in snapshots.shapes(each)])
    assert plot is not None
    layers = tuple(str(path) for each in reversed(source) for path in snapshots.shapes(each)[::-1])
    with snapshots.view(source) as root, snapshots.prepare(below, merged=False) as draft:
        lay_out(plot, draft.root)
        tree = SourceTree(root=root, layers=layers, open_file=snapshots.open_file)
        perform([action], draft.root, [None, tree], None, draft.referrer)
        assert draft.referrer is not None
        parents = (*below, *draft.referrer.settle())
        draft.commit(name, SnapshotRecord(id=name, parents=parents))


def archive(snapshots: Snapshotter, name: SnapshotID, below: Sequence[SnapshotID]) -> bytes:
    out = io.BytesIO()
    lowers = [path for each in below for path in snapshots.shapes(each)]
    with snapshots.layer(name) as upper:
        write_layer(upper, lowers, out, open_lower=snapshots.open_file)
    return out.getvalue()


def names(data: bytes) -> list[str]:
    return [entry.name for entry in TarReader(io.BytesIO(data))]


def blocks(path: Path) -> int:
    return sum(file.stat().st_blocks for file in path.rglob("*") if file.is_file()) * 512


@either
def test_a_copy_shows_its_source_and_takes_no_room(tmp_path: Path, enter: Enter) -> None:
    def work() -> None:
        snapshots = opened(tmp_path)
        copy(snapshots, [SOURCE], [BASE], NEW, "out", "/to/")
        with snapshots.view([BASE, NEW]) as root:
            status, beside = (root / "to/big").stat(), (root / "bin/sh").stat()
            assert (root / "to/big").read_bytes() == BIG
            assert (root / "to/small").read_bytes() == b"small"
            assert os.getxattr(root / "to/big", "user.note") == b"kept"
            assert (status.st_mode, status.st_nlink) == (0o104755, 1)
            assert (status.st_dev, status.st_mtime) == (beside.st_dev, MTIME)
        assert blocks(snapshots.path(NEW).parent) < SIZE
        assert snapshots.usage(NEW) < SIZE
        assert not (snapshots.path(NEW).parent / "whole").exists()

    enter(work)
    assert (tmp_path / "version").read_text() == "2\n"
    Store(tmp_path)
    assert len(os.listdir(tmp_path / "tmp")) <= 1


@either
def test_what_a_step_changes_is_copied_up_whole(tmp_path: Path, enter: Enter) -> None:
    def work() -> None:
        snapshots = opened(tmp_path)
        for number in range(5):
            name = SnapshotID(f"new-{number}")
            below = [BASE, *(SnapshotID(f"new-{each}") for each in range(number))]
            copy(snapshots, [SOURCE], below, name, "out/big", f"/to{number}/")
        stack = [BASE, *(SnapshotID(f"new-{number}") for number in range(5))]
        with snapshots.prepare(stack) as draft:
            root = draft.root
            (root / "to0/big").chmod(0o600)
            with (root / "to1/big").open("ab") as file:
                file.write(b"more")
            (root / "to2/big").rename(root / "renamed")
            os.link(root / "to3/big", root / "linked")
            (root / "to4/big").unlink()
            draft.commit(TOP)
        upper = snapshots.path(TOP)
        assert (upper / "to0/big").read_bytes() == BIG
        assert (upper / "to1/big").read_bytes() == BIG + b"more"
        assert (upper / "renamed").read_bytes() == (upper / "linked").read_bytes() == BIG
        with snapshots.view([*stack, TOP]) as root:
            assert sorted(os.listdir(root)) == sorted(
                ["bin", "linked", "renamed", *(f"to{number}" for number in range(5))]
            )
            assert os.listdir(root / "to4") == os.listdir(root / "to2") == []

    enter(work)


@either
def test_the_layer_is_that_of_a_whole_copy(tmp_path: Path, enter: Enter) -> None:
    def work() -> None:
        snapshots = opened(tmp_path / "one")
        copy(snapshots, [SOURCE], [BASE], NEW, "out", "/to/")
        one = archive(snapshots, NEW, [BASE])
        plain = open_snapshotter(snapshots._store, "native")  # type: ignore[attr-defined]
        assert archive(plain, NEW, [BASE]) == one
        with plain.view([BASE, NEW]) as root:
            assert (root / "to/big").read_bytes() == BIG
        # What was made whole is what is shown from now on.
        assert archive(snapshots, NEW, [BASE]) == one
        assert snapshots.usage(NEW) > SIZE

    enter(work)


@either
def test_a_copy_of_a_copy_refers_to_the_first(tmp_path: Path, enter: Enter) -> None:
    def work() -> None:
        snapshots = opened(tmp_path)
        copy(snapshots, [SOURCE], [BASE], NEW, "out/big", "/big")
        copy(snapshots, [BASE, NEW], [], TOP, "big", "/again")
        (record,) = [
            each
            for each in snapshots._store.snapshots.all()  # type: ignore[attr-defined]
            if each.id == TOP
        ]
        assert record.parents == (SOURCE,)
        with snapshots.view([TOP]) as root:
            assert (root / "again").read_bytes() == BIG

    enter(work)


@either
def test_where_it_does_not_fit_the_content_is_copied(tmp_path: Path, enter: Enter) -> None:
    def work() -> None:
        snapshots = opened(tmp_path)
        copy(snapshots, [SOURCE], [], NEW, "out/big", "/d/one")
        copy(snapshots, [ELSEWHERE], [], TOP, "out/big", "/d/two")
        with snapshots.prepare([BASE]) as draft:
            (draft.root / "bin/sh").unlink()
            (draft.root / "bin").rmdir()
            (draft.root / "bin").mkdir()
            draft.commit(SnapshotID("opaque"))
        copy(snapshots, [SOURCE], [], SnapshotID("linked"), "out/big", "/bin/sh")
        opaque, linked = SnapshotID("opaque"), SnapshotID("linked")
        stacks: list[tuple[list[SnapshotID], dict[str, bytes]]] = [
            # Two sources with the same path, and a source that is shown itself.
            ([NEW, TOP], {"d/one": BIG, "d/two": OTHER}),
            ([SOURCE, NEW], {"d/one": BIG, "out/big": BIG}),
            # Below it are a file at its place, a directory that hides what is below it, and a whiteout.
            ([BASE, linked], {"bin/sh": BIG}),
            ([BASE, opaque, linked], {"bin/sh": BIG}),
            ([linked, BASE], {"bin/sh": b"shell"}),
            ([linked, NEW, linked], {"bin/sh": BIG, "d/one": BIG}),
        ]
        for stack, files in stacks:
            with snapshots.view(stack) as root:
                for path, data in files.items():
                    assert (root / path).read_bytes() == data
            with snapshots.prepare(stack) as draft:
                for path, data in files.items():
                    assert (draft.root / path).read_bytes() == data

    enter(work)


@either
def test_a_layer_above_is_compared_with_the_content(tmp_path: Path, enter: Enter) -> None:
    def work() -> None:
        snapshots = opened(tmp_path)
        copy(snapshots, [SOURCE], [BASE], NEW, "out/big", "/big")
        for name, last in ((TOP, BIG[-1:]), (SnapshotID("other"), b"!")):
            with snapshots.prepare([BASE, NEW]) as draft:
                with (draft.root / "big").open("r+b") as file:
                    file.seek(-1, os.SEEK_END)
                    file.write(last)
                (draft.root / "big").chmod(0o4755)
                os.utime(draft.root / "big", (MTIME, MTIME))
                draft.commit(name)
        assert names(archive(snapshots, TOP, [BASE, NEW])) == []
        assert names(archive(snapshots, SnapshotID("other"), [BASE, NEW])) == ["big"]

    enter(work)


@either
def test_a_source_stays_for_as_long_as_it_is_referred_to(tmp_path: Path, enter: Enter) -> None:
    def work() -> None:
        snapshots = opened(tmp_path)
        copy(snapshots, [SOURCE], [BASE], NEW, "out/big", "/big")
        store = Store(tmp_path, works=False)
        with store.leases.hold() as lease:
            lease.add(NEW)
            collect(store, [Policy()])
        assert {record.id for record in store.snapshots.all()} == {SOURCE, BASE, NEW}
        assert check(store) == ()
        os.rename(store.snapshots_directory / SOURCE, tmp_path / "lost")
        told = [problem.text for problem in check(store) if problem.is_fault]
        assert told == [f"the snapshot {NEW} needs {SOURCE}, which is missing"]

    enter(work)


@either
def test_lost_attributes_are_an_error(tmp_path: Path, enter: Enter) -> None:
    def work() -> None:
        snapshots = opened(tmp_path)
        copy(snapshots, [SOURCE], [], NEW, "out/big", "/big")
        os.removexattr(snapshots.path(NEW).parent / "refs/big", "user.overlay.polyarch")
        again = open_snapshotter(Store(tmp_path), "overlay")
        for reading in (again.view, again.layer):
            given = [NEW] if reading == again.view else NEW
            with pytest.raises(StoreError, match="refers to nothing"), reading(given):  # type: ignore[arg-type]
                pass

    enter(work)


def test_the_attributes_of_a_step_mean_nothing(tmp_path: Path) -> None:
    snapshots = open_snapshotter(Store(tmp_path), "native")
    (tmp_path / "secret").write_bytes(b"secret")
    put(snapshots, NEW, {"refs/file": b"mine"})
    file = snapshots.path(NEW) / "refs/file"
    os.setxattr(file, "user.overlay.polyarch", b"../../secret")
    with open(snapshots.open_file(str(file)), "rb") as stream:
        assert stream.read() == b"mine"


DOCKERFILE = """\
FROM {base} AS make
RUN head -c 3000000 /dev/zero | tr '\\0' a >/big && chmod 4711 /big
FROM {base}
COPY --from=make /big /to/
COPY --from=make --chown=1:2 --chmod=640 /big /other
RUN sha256sum /to/big /other >/sums
"""


def test_a_build_exports_the_content(who: Person, registry: RealRegistry) -> None:
    who.write("Dockerfile", DOCKERFILE.format(base=f"{registry.host}/library/busybox"))

    who.run("build", "-otype=local,dest=out", ".").check()
    native = replace(who, environ={**who.environ, "POLYARCH_SNAPSHOTTER": "native"})
    native.run("build", "-otype=local,dest=copied", ".").check()

    digest = hashlib.sha256(b"a" * 3000000).hexdigest()
    for directory in ("out", "copied"):
        root = who.work / directory
        assert (root / "to/big").read_bytes() == (root / "other").read_bytes() == b"a" * 3000000
        assert (root / "sums").read_text().split()[::2] == [digest, digest]
