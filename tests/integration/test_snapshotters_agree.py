"""Overlay mounts against plain copies: what is done in drafts gives the same trees and the same layers."""

from __future__ import annotations

import io
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from polyarch.layer.changes import write_layer
from polyarch.snapshot.choose import open_snapshotter
from polyarch.snapshot.snapshotter import SnapshotID, Snapshotter
from polyarch.store.store import Store
from tests.support.images.trees import MTIME
from tests.support.machine.namespaces import in_mount_namespace, in_user_namespace

pytestmark = [pytest.mark.root, pytest.mark.runtime]

_LINKED = "linked "  # begins what may have several names: that overlayfs parts them, is no fault

Act = Callable[[Path], None]
"""What a step does in its root."""


def _touch(*paths: Path) -> None:
    """Give paths that were changed, and their directories, a time that doesn't depend on when it was."""
    for path in paths:
        for each in (path, path.parent):
            if os.path.lexists(each):
                os.utime(each, (MTIME, MTIME), follow_symlinks=False)


def _clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    elif os.path.lexists(path):
        path.unlink()


def _make_room(path: Path, root: Path) -> None:
    """Remove what is there, and see to it that all above are directories."""
    for above in [each for each in reversed(path.parents) if root in each.parents]:
        if above.is_symlink() or not above.is_dir():
            _clear(above)
            above.mkdir()
            _touch(above)
    _clear(path)


def write(name: str, text: str) -> Act:
    def act(root: Path) -> None:
        _make_room(root / name, root)
        (root / name).write_text(text)
        _touch(root / name)

    return act


def append(name: str, text: str) -> Act:
    def act(root: Path) -> None:
        path = root / name
        if _is_plain_file(path, root) and not path.read_text().startswith(_LINKED):
            with path.open("a") as file:
                file.write(text)
            _touch(path)

    return act


def make_directory(name: str, mode: int) -> Act:
    def act(root: Path) -> None:
        _make_room(root / name, root)
        (root / name).mkdir()
        (root / name).chmod(mode)
        _touch(root / name)

    return act


def remove(name: str) -> Act:
    def act(root: Path) -> None:
        if _is_reached(root / name, root):
            _clear(root / name)
            _touch(root / name)

    return act


def move(name: str, target: str) -> Act:
    """Copy and remove, as mv does where overlayfs refuses to rename a directory of a lower layer."""

    def act(root: Path) -> None:
        source = root / name
        if not os.path.lexists(source) or not _is_reached(source, root):
            return
        with tempfile.TemporaryDirectory() as aside:
            held = Path(aside) / "held"
            _copy(source, held)
            _clear(source)
            _touch(source)
            _make_room(root / target, root)
            _copy(held, root / target)
        _touch(root / target)

    return act


def _copy(source: Path, target: Path) -> None:
    if source.is_dir() and not source.is_symlink():
        shutil.copytree(source, target, symlinks=True)
    else:
        shutil.copy2(source, target, follow_symlinks=False)


def set_mode(name: str, mode: int) -> Act:
    def act(root: Path) -> None:
        path = root / name
        if _is_reached(path, root) and path.is_dir() and not path.is_symlink():
            path.chmod(mode)

    return act


def link(name: str, target: str) -> Act:
    def act(root: Path) -> None:
        _make_room(root / name, root)
        (root / name).symlink_to(target)
        _touch(root / name)

    return act


def write_twice(name: str, other: str) -> Act:
    """A file with two names."""

    def act(root: Path) -> None:
        write(name, f"{_LINKED}{name}")(root)
        _make_room(root / other, root)
        if (root / name).is_file():  # unless the one name was above the other
            (root / other).hardlink_to(root / name)
            _touch(root / name, root / other)

    return act


def _is_reached(path: Path, root: Path) -> bool:
    """Tell if no link is on the way: it might lead out of the root."""
    return all(
        each.is_dir() and not each.is_symlink() for each in path.parents if root in each.parents
    )


def _is_plain_file(path: Path, root: Path) -> bool:
    return _is_reached(path, root) and path.is_file() and not path.is_symlink()


names = st.builds("/".join, st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3))
texts = st.sampled_from(["", "1", "22"])
modes = st.sampled_from([0o755, 0o700, 0o1777])
acts: st.SearchStrategy[Act] = st.one_of(
    st.builds(write, names, texts),
    st.builds(append, names, texts),
    st.builds(make_directory, names, modes),
    st.builds(remove, names),
    st.builds(move, names, names),
    st.builds(set_mode, names, modes),
    st.builds(link, names, st.sampled_from(["a", "../b", "/nowhere"])),
    st.builds(write_twice, names, names),
)
sequences = st.lists(st.lists(acts, max_size=6), min_size=1, max_size=4)


def layers_of(snapshots: Snapshotter, steps: Sequence[Sequence[Act]]) -> Iterator[bytes]:
    """Do the steps one upon another; yield the archive of each layer, and at last that of the merged tree."""
    stack: list[SnapshotID] = []
    for number, step in enumerate(steps):
        with snapshots.prepare(stack) as draft:
            for act in step:
                act(draft.root)
            snapshot = SnapshotID(f"layer{number}")
            draft.commit(snapshot)
        yield archive(snapshots.path(snapshot), [snapshots.path(each) for each in stack])
        stack.append(snapshot)
    with snapshots.view(stack) as merged:
        yield repr(listing(merged)).encode()


def archive(layer: Path, parents: Sequence[Path]) -> bytes:
    out = io.BytesIO()
    write_layer(layer, parents, out)
    return out.getvalue()


def listing(root: Path) -> list[tuple[object, ...]]:
    found: list[tuple[object, ...]] = []
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        is_file = stat.S_ISREG(status.st_mode)
        content = path.read_text() if is_file else path.is_symlink() and os.readlink(path)
        name = str(path.relative_to(root))
        found.append((name, status.st_mode, status.st_uid, int(status.st_mtime), content))
    return found


@contextmanager
def both_snapshotters() -> Iterator[list[Snapshotter]]:
    with ExitStack() as stack:
        directory = stack.enter_context(tempfile.TemporaryDirectory())
        yield [
            open_snapshotter(stack.enter_context(Store(Path(directory) / name)), name)
            for name in ("overlay", "native")
        ]


@pytest.mark.parametrize(
    "enter", [in_mount_namespace, in_user_namespace], ids=["root", "user namespace"]
)
def test_overlays_and_copies_give_the_same_layers(
    enter: Callable[[Callable[[], object]], None],
) -> None:
    @settings(max_examples=40)
    @given(sequences)
    def agree(steps: list[list[Act]]) -> None:
        with both_snapshotters() as (overlay, native):
            for mounted, copied in zip(
                layers_of(overlay, steps), layers_of(native, steps), strict=True
            ):
                assert mounted == copied

    enter(agree)
