"""Parts of an image -> one, at the places that `polyarch join` is told: registries, layouts, engines, the store."""

from __future__ import annotations

import fcntl
import os
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from polyarch.digest import Digest
from polyarch.exporter.assemble import ImageResult
from polyarch.exporter.engine_writer import EngineWriter
from polyarch.exporter.layers import ExportedLayer
from polyarch.exporter.layout import named_entry
from polyarch.exporter.outfile import made_directory, write_output
from polyarch.exporter.result import Export, FileTree
from polyarch.exporter.writer import Work
from polyarch.images.archive import write_archive
from polyarch.images.create import Asked, Bringing, publish
from polyarch.images.layout import Layout, blob_path
from polyarch.images.merge import Merged
from polyarch.images.names import RegistryName
from polyarch.images.place import Seal, Target
from polyarch.images.places import Places
from polyarch.images.store_place import Fetcher, StorePlace
from polyarch.oci.base import LAYOUT_SCHEME
from polyarch.oci.config import parse_config
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.documents import Document
from polyarch.oci.manifest import parse_manifest
from polyarch.oci.reference import Reference
from polyarch.platforms import Platform, normalize
from polyarch.progress import CancelToken, Sink, Step, step
from polyarch.record import frozen, replace
from polyarch.request.values import Output, OutputType
from polyarch.store.store import Store
from polyarch.store.trees import remove_tree
from polyarch.store.trouble import output_trouble

__all__ = ["Joined"]

_SCRATCH = ".polyarch-join-"


@frozen
class Joined:
    """An image of parts that is to be brought somewhere, under its names; `seal` signs what is pushed."""

    merged: Merged
    asked: Asked
    names: tuple[Reference, ...]
    places: Places
    sink: Sink
    cancel: CancelToken
    seal: Seal | None = None

    def push(self) -> None:
        """Push it under its names. Raises RegistryError, NotFound, IntegrityError, Cancelled, and what signers raise."""
        names = tuple(RegistryName(reference=name) for name in self.names)
        asked = replace(self.asked, names=names)
        publish(asked, self.merged, self.places, self.sink, self.cancel, self.seal)

    def write_directory(self, directory: Path) -> None:
        """Add it to a layout under its names. Raises as `push`, StoreError."""
        layout = self.places.at(f"{LAYOUT_SCHEME}{directory.absolute()}")
        assert isinstance(layout, Layout)
        merged = self.merged
        with output_trouble("write to", directory), made_directory(directory):
            self._bring(layout, f"exporting to {directory}")
            layout.put_manifest(merged.descriptor, merged.data, None)
            layout.list_entries(map(named_entry, self._export([]).entries()))

    def write_file(self, destination: str) -> None:
        """Write it as an archive, "-" for standard output. Raises as `write_directory`."""
        is_stream = destination in {"", "-"}
        beside = _somewhere() if is_stream else Path(destination).absolute().parent
        with (
            output_trouble("write to", beside),
            made_directory(beside),
            _scratch(beside) as directory,
        ):
            self.write_directory(directory)
            blobs = _LayoutFiles(directory)
            entries = self._export([]).entries()
            write_output(
                destination, lambda sink: write_archive(entries, blobs.all(), blobs, sink, {})
            )

    def keep(self, store: Store) -> None:
        """Keep it in the local store under its names. Raises as `push`, StoreError."""
        root = self.merged.descriptor
        with step(self.sink, "importing to the local store") as shown:
            fetcher = Fetcher(store=store, places=self.places, cancel=self.cancel, shown=shown)
            place = StorePlace(fetcher=fetcher)
            self._bring_to(place, shown)
            for name in self.names:
                with shown.part(f"naming to {name}"):
                    place.tag(name.canonical, root, self.merged.data)

    def load(self, store: Store, environ: Mapping[str, str]) -> None:
        """Load it into what is here: docker's engine, podman, or the local store alone.

        Raises as `keep`, MachineError.
        """
        from polyarch.engine.loading import find_engine  # noqa: PLC0415 only for --load

        engine = find_engine(environ)
        self.keep(store)
        images = [_image(store, each) for each in self.merged.images]
        export = self._export(images)
        store.blobs.put(export.root.data, export.root.descriptor.digest)
        work = Work(
            store=store,
            places=self.places,
            trees=_no_trees,
            sink=self.sink,
            cancel=self.cancel,
            engines={} if engine is None else {"": engine},
        )
        with step(self.sink, "exporting to image") as shown:
            EngineWriter(work).write(Output(type=OutputType.DOCKER), export, shown)

    def _bring(self, target: Target, name: str) -> None:
        with step(self.sink, name) as shown:
            self._bring_to(target, shown)

    def _bring_to(self, target: Target, shown: Step) -> None:
        bringing = Bringing(target=target, places=self.places, shown=shown, cancel=self.cancel)
        bringing.all(self.merged, self.asked.sources)

    def _export(self, images: Sequence[ImageResult]) -> Export:
        root = Document(descriptor=self.merged.descriptor, data=self.merged.data)
        return Export(root=root, images=tuple(images), names=self.names, created=time.time())


def _somewhere() -> Path:
    """Return a directory that can be written to, on a disk if possible."""
    here = Path.cwd()
    return here if os.access(here, os.W_OK) else Path(tempfile.gettempdir())


@contextmanager
def _scratch(beside: Path) -> Iterator[Path]:
    """Make a directory for the time of the block, and remove those that were killed have left there. Raises OSError."""
    for left in beside.glob(f"{_SCRATCH}*"):
        with suppress(OSError), _locked(left) as descriptor:
            if os.fstat(descriptor).st_uid == os.geteuid():
                remove_tree(left)
    with tempfile.TemporaryDirectory(prefix=_SCRATCH, dir=beside) as name, _locked(Path(name)):
        yield Path(name)


@contextmanager
def _locked(directory: Path) -> Iterator[int]:
    """Open a directory that nobody else uses, and let nobody else use it. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _no_trees() -> Iterator[Sequence[FileTree]]:
    yield ()


def _image(store: Store, descriptor: Descriptor) -> ImageResult:
    """Return the image of a manifest whose blobs are in the store."""
    data = store.blobs.read(descriptor.digest)
    manifest = parse_manifest(data)
    config = store.blobs.read(manifest.config.digest)
    parsed = parse_config(config)
    platform: Platform = descriptor.platform or parsed.platform
    return ImageResult(
        platform=normalize(platform),
        manifest=Document(descriptor=descriptor, data=data),
        config=Document(descriptor=manifest.config, data=config),
        layers=tuple(
            ExportedLayer(descriptor=layer, diff_id=diff_id)
            for layer, diff_id in zip(manifest.layers, parsed.diff_ids, strict=True)
        ),
    )


class _LayoutFiles:
    """The blobs of a layout of our own, to be read."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def all(self) -> list[Digest]:
        """Return their digests."""
        top = self._directory / "blobs"
        return [Digest(f"{each.parent.name}:{each.name}") for each in sorted(top.glob("*/*"))]

    def open(self, digest: Digest) -> BinaryIO:
        """Open a blob."""
        return (self._directory / blob_path(digest)).open("rb")

    def size(self, digest: Digest) -> int:
        """Return its size."""
        return os.stat(self._directory / blob_path(digest)).st_size
