"""Base images -> sets of native twins, made once for all builds of a store.

A set is a snapshot like a layer: it appears whole or not at all, it is leased by the builds that use it, counted
by `du`, and collected when nobody has used it for as long as others. Its name follows from the manifests of both
variants, so an image that moves on gets another set. In it is one directory, named by the set's number, which is
part of the paths that twins have in them; several sets are put together as layers are. A snapshot without one
says that there is nothing to be had of that pair.

The native variant is fetched and unpacked like any image, and goes its own way: the set doesn't need it any more.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol, Self

from polyarch.digest import hex_of, sha256
from polyarch.errors import Cancelled, PolyarchError
from polyarch.graph.op import ImageOp
from polyarch.graph.vertex import Vertex
from polyarch.platforms import Platform, host
from polyarch.progress import CancelToken
from polyarch.record import frozen, replace
from polyarch.request.emulation import Ring
from polyarch.snapshot.snapshotter import SnapshotID, Snapshotter
from polyarch.snapshot.stack import LayerStack
from polyarch.store.snapshots import SnapshotRecord
from polyarch.store.store import Store
from polyarch.twins.sets import FORMAT, NoTwins, TwinSet, load_set, make_set

__all__ = ["ImageSet", "Pair", "TwinSets", "Variants"]

_NUMBERS = 9999
"""As a path below which the loader's copy finds its cache it has to be no longer than /etc/ld.so.cache."""
_HOST = "amd64"
_ALL_RINGS = frozenset(Ring)

Maker = Callable[[Path, Path, Platform, Path, int], TwinSet | NoTwins]
Loader = Callable[[Path], TwinSet | None]


@frozen
class Pair:
    """A base image and its native variant."""

    foreign: ImageOp
    native: ImageOp

    @property
    def snapshot(self) -> SnapshotID:
        """The name of the set's snapshot."""
        parts = (f"{FORMAT}", self.foreign.digest, self.native.digest, str(self.foreign.platform))
        return SnapshotID(f"twins-{hex_of(sha256(' '.join(parts).encode()))}")

    @property
    def number(self) -> int:
        """The number of the set, from 1. Two pairs may have the same: then one step can't have both."""
        return int(self.snapshot[-8:], 16) % _NUMBERS + 1


@frozen
class ImageSet:
    """A set, ready to be used: that of the image `base`, in the snapshot `snapshot`."""

    snapshot: SnapshotID
    base: ImageOp
    twins: TwinSet


class Variants(Protocol):
    """Images for this machine and others, and where their layers go; `ImageSource` has them."""

    @property
    def store(self) -> Store:
        """The store."""

    @property
    def snapshotter(self) -> Snapshotter:
        """Where layers are unpacked."""

    def sibling(self, op: ImageOp, platform: Platform, cancel: CancelToken) -> ImageOp | None:
        """Return the same image for another platform, if there is one."""

    def missing_bytes(self, stack: LayerStack) -> int:
        """Return the bytes that `ensure_unpacked` would have to fetch."""

    def ensure_unpacked(self, stack: LayerStack, vertex: Vertex, cancel: CancelToken) -> None:
        """Fetch and unpack what isn't here."""


class TwinSets:
    """The sets of one build's base images; thread-safe. Fetching beside the steps ends with the block.

    Sets are made of all programs; a build has those of its `rings`.
    """

    def __init__(
        self,
        images: Variants,
        *,
        rings: Collection[str] = _ALL_RINGS,
        make: Maker = make_set,
        load: Loader = load_set,
        machine: Platform | None = None,
    ) -> None:
        self._images = images
        self._rings = rings
        self._make = make
        self._load_set = load
        self._machine = machine or host()
        self._lock = threading.Lock()
        self._pairs: dict[str, Pair | None] = {}
        self._known: dict[SnapshotID, ImageSet | None] = {}
        self._beside: dict[SnapshotID, threading.Thread] = {}
        self._stop = CancelToken()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        """End what is fetched beside the steps, and wait for that."""
        self._stop.cancel()
        for thread in self._beside.values():
            thread.join()

    def pair(self, base: ImageOp, cancel: CancelToken) -> Pair | None:
        """Return the image with its native variant; None if it has none. Asks a registry at most once.

        Raises RegistryError and its kin, once.
        """
        with self._lock:
            if base.digest not in self._pairs:
                self._pairs[base.digest] = None  # whoever fails to find out isn't asked again
                self._pairs[base.digest] = self._find_pair(base, cancel)
            return self._pairs[base.digest]

    def _find_pair(self, base: ImageOp, cancel: CancelToken) -> Pair | None:
        if self._machine.architecture != _HOST:
            return None
        native = self._images.sibling(base, self._machine, cancel)
        return None if native is None else Pair(foreign=base, native=native)

    def is_made(self, pair: Pair) -> bool:
        """Tell whether it is known what twins there are."""
        return pair.snapshot in self._known or self._images.snapshotter.exists(pair.snapshot)

    def missing_bytes(self, pair: Pair) -> int:
        """Return what would have to be fetched to make the set."""
        return self._images.missing_bytes(_stack(pair.native))

    def find(self, pair: Pair) -> ImageSet | None:
        """Return the set that was made; None if it wasn't, or there are no twins."""
        with self._lock:
            if pair.snapshot not in self._known:
                if not self._images.snapshotter.exists(pair.snapshot):
                    return None
                self._known[pair.snapshot] = self._load(pair)
            return self._known[pair.snapshot]

    def _load(self, pair: Pair) -> ImageSet | None:
        directory = self._images.snapshotter.path(pair.snapshot) / str(pair.number)
        found = self._load_set(directory)
        if found is None:
            return None
        twins = tuple(each for each in found.twins if each.ring in self._rings)
        if not twins:
            return None
        return ImageSet(
            snapshot=pair.snapshot, base=pair.foreign, twins=replace(found, twins=twins)
        )

    def get(self, pair: Pair, vertex: Vertex, cancel: CancelToken) -> ImageSet | None:
        """Return the set, which is made if nobody has; None if there are no twins.

        What is fetched is shown under `vertex`. Raises RegistryError, IntegrityError, StoreError, Cancelled.
        """
        with self._images.store.locks.exclusive(pair.snapshot, check=cancel.check):
            if not self._images.snapshotter.exists(pair.snapshot):
                self._fill(pair, vertex, cancel)
        return self.find(pair)

    def begin(self, pair: Pair, vertex: Vertex) -> None:
        """Make the set while steps run, once; `find` has it when it is there."""
        with self._lock:
            if pair.snapshot in self._beside or self._stop.cancelled:
                return
            thread = threading.Thread(
                target=self._get_beside, args=(pair, vertex), name="twins", daemon=False
            )
            self._beside[pair.snapshot] = thread
            thread.start()

    def _get_beside(self, pair: Pair, vertex: Vertex) -> None:
        try:
            self.get(pair, vertex, self._stop)
        except Cancelled:
            return
        except PolyarchError:
            with self._lock:
                self._known[pair.snapshot] = None  # steps are emulated, as they were without it

    def _fill(self, pair: Pair, vertex: Vertex, cancel: CancelToken) -> None:
        foreign, native = _stack(pair.foreign), _stack(pair.native)
        self._images.ensure_unpacked(native, vertex, cancel)
        self._images.ensure_unpacked(foreign, vertex, cancel)
        snapshotter = self._images.snapshotter
        record = SnapshotRecord(
            id=pair.snapshot,
            description=f"native programs for {pair.foreign.platform} steps on {pair.foreign.reference}",
        )

        def fill(directory: Path) -> None:
            cancel.check()
            with (
                snapshotter.view(foreign.snapshots) as one,
                snapshotter.view(native.snapshots) as other,
            ):
                place = directory / str(pair.number)
                made = self._make(one, other, pair.foreign.platform, place, pair.number)
            if isinstance(made, NoTwins):
                # For those who look: nothing reads it.
                (directory / "reason").write_text(f"{made.reason}\n", errors="replace")

        snapshotter.unpack(pair.snapshot, fill, record)

    def directory(self, sets: Iterable[ImageSet]) -> AbstractContextManager[Path]:
        """Give the directory that a step with these sets sees, for as long as a block lasts."""
        return self._images.snapshotter.view([each.snapshot for each in sets])


def _stack(image: ImageOp) -> LayerStack:
    return LayerStack.of_image(image.diff_ids, image.blobs, image.source)
