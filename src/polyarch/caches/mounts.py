"""The content of cache mounts, kept beside a cache: written at the end of a build, read when a step first mounts one.

The last that was written counts, whole; what several machines put into a cache at the same time isn't merged. Written are
those of steps that ran. A mount whose first content comes from an image or a stage (`from=`) isn't kept.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

from polyarch.digest import Digest
from polyarch.errors import Cancelled, PolyarchError
from polyarch.golang.units import human_size
from polyarch.images.piecereader import PiecedPlace
from polyarch.images.pieces import find_pieces
from polyarch.images.piecewriter import put_pieces
from polyarch.images.place import Place
from polyarch.layer.apply import apply
from polyarch.layer.changes import write_layer
from polyarch.layer.pipes import ReadAhead
from polyarch.layer.tar import Sink
from polyarch.oci import media
from polyarch.oci.descriptor import Descriptor
from polyarch.progress import CancelToken, Step, cancellable, step
from polyarch.progress import Sink as EventSink
from polyarch.record import field, frozen
from polyarch.snapshot.snapshotter import SnapshotID, Snapshotter
from polyarch.store.store import Store
from polyarch.store.trees import remove_tree, tree_size
from polyarch.store.trouble import tree_trouble

__all__ = ["KeptAt", "MountLimits", "SavedMounts"]

_ALL = "all"


@frozen
class MountLimits:
    """Which cache mounts go along, and how many bytes each may have on the disk."""

    limits: Mapping[str, int]

    def find(self, identifier: str) -> int | None:
        """Return the limit of a mount, None if it doesn't go along."""
        name = _called(identifier).lstrip("/")
        return self.limits.get(name, self.limits.get(_ALL))


def _called(identifier: str) -> str:
    """Return what people call a mount: in its op, an id is a path, as with BuildKit."""
    return identifier.removeprefix("/")


def _tag(identifier: str) -> str:
    return f"mount-{hashlib.sha256(identifier.encode()).hexdigest()}"


@frozen
class KeptAt:
    """The mounts that caches have: asked for when one is made anew here. `used` are those of steps that ran, by id."""

    places: Sequence[tuple[Place, MountLimits]]
    sink: EventSink
    cancel: CancelToken
    used: dict[str, SnapshotID] = field(default_factory=dict)

    def mounted(self, identifier: str, snapshot: SnapshotID) -> None:
        """See `worker.mounts.KeptMounts`."""
        self.used.setdefault(identifier, snapshot)

    def fill(self, identifier: str, directory: Path) -> bool:
        """See `worker.mounts.KeptMounts`. Raises Cancelled."""
        wanted = [place for place, limits in self.places if limits.find(identifier) is not None]
        return any(self._fill_from(place, identifier, directory) for place in wanted)

    def _fill_from(self, place: Place, identifier: str, directory: Path) -> bool:
        try:
            with step(self.sink, f"importing cache mount {_called(identifier)} from {place.name}"):
                return self._unpack(place, identifier, directory)
        except Cancelled:
            raise
        except PolyarchError:
            # It was told of by the step. The cache begins empty.
            for each in directory.iterdir():
                remove_tree(each)
            return False

    def _unpack(self, place: Place, identifier: str, directory: Path) -> bool:
        listed = find_pieces(place, _tag(identifier))
        if listed is None:
            return False
        archive = Descriptor(
            media_type=media.OCI_LAYER, digest=Digest(listed.diff_id), size=listed.size
        )
        with (
            cancellable(self.cancel),
            closing(PiecedPlace(place=place).open_blob(archive).chunks()) as chunks,
            ReadAhead(chunks) as stream,
        ):
            apply(stream, directory)
        return True


@frozen
class SavedMounts:
    """Writes the content of cache mounts to a place."""

    store: Store
    snapshotter: Snapshotter
    place: Place
    limits: MountLimits
    cancel: CancelToken

    def save(self, used: Mapping[str, SnapshotID], shown: Step) -> None:
        """Write those that go along. Raises RemoteError, StoreError, Cancelled."""
        for identifier, snapshot in used.items():
            limit = self.limits.find(identifier)
            if limit is None or not self.snapshotter.exists(snapshot):
                continue
            name = f"mount-{snapshot}"
            with self.store.locks.exclusive(name, wait=False) as is_alone:
                if is_alone:
                    self._save(identifier, snapshot, limit, shown)
                else:
                    shown.remark(f"cache mount {_called(identifier)} is in use, and was left out")

    def _save(self, identifier: str, snapshot: SnapshotID, limit: int, shown: Step) -> None:
        with self.snapshotter.layer(snapshot) as root:
            size = tree_size(root)
            if size > limit:
                shown.remark(
                    f"cache mount {_called(identifier)} has {human_size(size)}, more than the "
                    f"{human_size(limit)} that it may have, and was left out"
                )
                return

            def produce(sink: Sink) -> None:
                write_layer(root, (), sink)

            with (
                cancellable(self.cancel),
                tree_trouble(),
                shown.part(f"writing cache mount {_called(identifier)}") as count,
            ):
                put_pieces(
                    self.place,
                    [],
                    produce,
                    size=size,
                    hint=_tag(identifier),
                    on_bytes=count,
                )
