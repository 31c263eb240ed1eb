"""The lower directories of an overlay mount, with what is needed to show files that refer to other snapshots.

An ordinary user's overlayfs goes from a file to its content in a data-only layer only if the file is in the
lowest layer of all: for any other it wants `metacopy`, which it doesn't give an ordinary user. So the trees of
references (`polyarch.snapshot.references`) go below everything, whichever layers they belong to. That is right
where nothing in the layers below theirs is in the way, which is looked for here; a copy is mostly to a place where
nothing was. Whatever doesn't fit is mounted with its contents, which are then copied, once.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from polyarch.record import frozen
from polyarch.snapshot.copying import copy_metadata
from polyarch.snapshot.directories import Directories
from polyarch.snapshot.references import Reference, make_reference
from polyarch.snapshot.snapshotter import SnapshotID, Stack
from polyarch.store.layerform import is_opaque

__all__ = ["Lowers", "find_lowers"]

_MOST_DATA = 50
"""Data-only layers of a mount: with the others there may be 500."""


@frozen
class Lowers:
    """What is mounted: `directories`, topmost first, and the data-only layers that files in the last one refer to."""

    directories: Sequence[Path]
    data: Sequence[Path] = ()


def find_lowers(directories: Directories, stack: Stack, scratch: Path, *, refers: bool) -> Lowers:
    """Return what to mount for `stack`, base first.

    `scratch` is where a directory may be made for it. `refers` says whether overlayfs takes data-only layers here. Raises NotFound, StoreError, OSError.
    """
    layers: list[Path] = []
    bottom: list[SnapshotID] = []
    referring = [snapshot for snapshot in stack if directories.references(snapshot)]
    fit = _Fit(directories, stack) if referring and refers else None
    for snapshot in stack:
        if fit is not None and snapshot in referring and fit.takes(snapshot, layers):
            layers.append(directories.path(snapshot))
            bottom.append(snapshot)
        else:
            layers += directories.paths(snapshot)
    # Images may have the same layer twice, and overlayfs takes none twice (ELOOP): what is in it is there the topmost time.
    found = list(dict.fromkeys(reversed(layers)))
    if fit is None or not bottom:
        return Lowers(directories=found)
    return Lowers(directories=[*found, _bottom(directories, bottom, scratch)], data=fit.data)


class _Fit:
    """Finds which snapshots of a stack can have their references at its bottom."""

    def __init__(self, directories: Directories, stack: Stack) -> None:
        self._directories = directories
        self._shown = {str(path) for each in stack for path in directories.shapes(each)}
        self._taken: list[Reference] = []
        self._trees: list[Path] = []
        self._places: dict[str, Path] = {}

    @property
    def data(self) -> list[Path]:
        """The data-only layers of those that were taken."""
        return list(self._places.values())

    def takes(self, snapshot: SnapshotID, below: Sequence[Path]) -> bool:
        """Return whether the references of a snapshot over the layers `below` can be shown, and take them."""
        found = self._directories.references(snapshot)
        root = self._directories.store.snapshots_directory
        places = self._places | {each.layer: root / each.layer for each in found}
        hiding = [str(path) for path in (*below, self._directories.path(snapshot), *self._trees)]
        if (
            len(places) > _MOST_DATA
            # Overlayfs doesn't take a directory as a layer to show and as one with data.
            or any(str(path) in self._shown for path in places.values())
            or any(_hides(layer, each.path) for layer in hiding for each in found)
            or any(_is_ambiguous(each, places) for each in (*self._taken, *found))
        ):
            return False
        self._taken += found
        self._trees.append(self._directories.tree_of_references(snapshot))
        self._places = places
        return True


def _hides(layer: str, path: str) -> bool:
    """Return whether something in a layer would be in the way of a file at `path` that lies below it."""
    where = layer
    for part in path.split("/"):
        where += f"/{part}"
        try:
            status = os.lstat(where)
        except FileNotFoundError:
            return False
        if not stat.S_ISDIR(status.st_mode) or is_opaque(where):
            return True
    return True


def _is_ambiguous(reference: Reference, places: Mapping[str, Path]) -> bool:
    """Return whether another data-only layer has a file at the same path: overlayfs takes the first."""
    others = (path for layer, path in places.items() if layer != reference.layer)
    return any(os.path.lexists(path / reference.inside) for path in others)


def _bottom(directories: Directories, snapshots: Sequence[SnapshotID], scratch: Path) -> Path:
    """Return a directory with the references of all `snapshots`, base first: only one can be the lowest."""
    if len(snapshots) == 1:
        return directories.tree_of_references(snapshots[0])
    bottom = scratch / "references"
    for snapshot in snapshots:
        tree = directories.tree_of_references(snapshot)
        for each in directories.references(snapshot):
            source, target = str(tree / each.path), bottom / each.path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()
            status = os.lstat(source)
            make_reference(target, status.st_size, each)
            copy_metadata(source, status, str(target))
    return bottom
