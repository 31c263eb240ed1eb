"""Images -> every output that was asked for.

Everything is checked before anything is written, and names are set last: what an output promises is
there when its name is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Protocol

from polyarch.errors import InputError
from polyarch.exporter.annotations import INDEX, INDEX_DESCRIPTOR, Annotations
from polyarch.exporter.result import Export, FileTree
from polyarch.oci.encode import compact
from polyarch.oci.reference import Reference
from polyarch.oci.reference import parse as parse_reference
from polyarch.progress import CancelToken, Sink, Step, cancellable, step
from polyarch.record import field, frozen
from polyarch.request import Output
from polyarch.store.refs import Refs
from polyarch.store.store import Store
from polyarch.store.trouble import output_trouble, store_trouble, tree_trouble
from polyarch.text.epoch import parse_epoch

if TYPE_CHECKING:
    from polyarch.layer.tar import Sink as ByteSink
from polyarch.text.gotext import suggestion

__all__ = [
    "Carrier",
    "Engines",
    "Exporter",
    "ImageEngine",
    "annotations_of",
    "check_outputs",
    "epoch_of",
    "is_for_engine",
    "is_true",
    "names_of",
]

_KNOWN = ("cacheonly", "docker", "image", "local", "oci", "registry", "tar")
IMAGE_TYPES = frozenset({"docker", "image", "oci", "registry"})
FILE_TYPES = frozenset({"local", "tar"})
_IMAGE_ATTRIBUTES = frozenset(
    {
        "name", "push", "store", "unpack", "compression", "compression-level", "oci-mediatypes",
        "registry.insecure", "tar", "attestation-inline", "source-date-epoch", "rewrite-timestamp",
        "context",
    }
)  # fmt: skip
_FILE_ATTRIBUTES = frozenset({"platform-split", "source-date-epoch"})


class Carrier(Protocol):
    """Brings blobs here and images away; the registry's side of exporting."""

    def ensure(self, export: Export, shown: Step, cancel: CancelToken) -> None:
        """Fetch the blobs of an export that aren't in the store yet."""

    def push(self, export: Export, name: Reference, shown: Step, cancel: CancelToken) -> None:
        """Push an export under a name; nothing is uploaded that the registry has."""


class ImageEngine(Protocol):
    """Docker's engine, as far as it takes images."""

    def holds_indexes(self) -> bool:
        """Tell whether it keeps images of several platforms under one name."""

    def load(self, archive: BinaryIO, size: int) -> None:
        """Give it an archive of `size` bytes."""


Engines = Mapping[str, ImageEngine]
"""Docker's engines by context; those of outputs that are to be loaded, where there are any."""


def is_for_engine(output: Output) -> bool:
    """Tell whether an output is for docker's engine, as `--load` is."""
    return output.type == "docker" and not output.destination


def names_of(output: Output) -> tuple[Reference, ...]:
    """Return the names that an output gives to its image. Raises InvalidReference."""
    return tuple(
        parse_reference(name.strip())
        for name in output.attributes.get("name", "").split(",")
        if name.strip()
    )


def is_true(output: Output, key: str, *, default: bool = False) -> bool:
    """Read a bool attribute. Raises InputError."""
    text = output.attributes.get(key)
    if text is None:
        return default
    if text in {"1", "t", "T", "TRUE", "true", "True"}:
        return True
    if text in {"0", "f", "F", "FALSE", "false", "False"}:
        return False
    raise InputError(f"{output.type} output: {key} is true or false, not {text!r}")


def epoch_of(output: Output, epoch: int | None) -> int | None:
    """Return the latest time, in seconds, of what is new in an output: its own or that of the build.

    Raises InputError.
    """
    text = output.attributes.get("source-date-epoch", "")
    if not text:
        return epoch
    return parse_epoch(text)


def annotations_of(output: Output, platforms: int) -> Annotations:
    """Return the annotations that an output asks for. Raises InputError, InvalidPlatform."""
    found = Annotations.parse(output.attributes)
    if platforms == 1 and (found.find(INDEX) or found.find(INDEX_DESCRIPTOR)):
        raise InputError(
            "index annotations not supported for single platform export",
            hint="annotate the manifest, or build for several platforms",
        )
    return found


def check_outputs(
    outputs: Sequence[Output], platforms: int, engines: Engines, *, is_index: bool = False
) -> None:
    """Refuse, before anything is built, what can't be exported. Raises InputError.

    `is_index` says that an index is made even of one platform.
    """
    for output in outputs:
        _check(output, platforms)
        annotations_of(output, 2 if is_index else platforms)
        if platforms > 1 and is_for_engine(output):
            engine = engines.get(output.attributes.get("context", ""))
            if engine is not None and not engine.holds_indexes():
                raise InputError(
                    "docker exporter does not currently support exporting manifest lists",
                    hint="this docker engine keeps images of one platform: build for one, or leave "
                    "--load out, and all of them stay in polyarch's own store",
                )
    to_stdout = [each for each in outputs if _is_stdout(each)]
    if len(to_stdout) > 1:
        raise InputError("only one output can be written to standard output")


def _check(output: Output, platforms: int) -> None:
    if output.type not in _KNOWN:
        near = suggestion(output.type, _KNOWN)
        raise InputError(
            f"unknown output type {output.type!r}{near}", hint="use one of " + ", ".join(_KNOWN)
        )
    _check_attributes(output)
    _check_place(output, platforms)


def _check_attributes(output: Output) -> None:
    """Raise InputError for an attribute that isn't known, or can't be what it is."""
    known = _IMAGE_ATTRIBUTES if output.type in IMAGE_TYPES else _FILE_ATTRIBUTES
    unknown = sorted(
        name
        for name in set(output.attributes) - known
        if not name.startswith("annotation")  # files have nothing to hang them on: as in buildx
    )
    if unknown and output.type != "cacheonly":
        raise InputError(
            f"the attribute {unknown[0]!r} of output type={output.type} can't be carried out yet",
            hint="leave it out",
        )
    if is_true(output, "rewrite-timestamp") and is_true(output, "unpack"):
        raise InputError(
            'exporter option "rewrite-timestamp" conflicts with "unpack"',
            hint="leave one of them out",
        )
    epoch_of(output, None)


def _check_place(output: Output, platforms: int) -> None:
    """Raise InputError if the output can't go where it shall."""
    names = names_of(output) if output.type in IMAGE_TYPES else ()
    is_pushed = output.type == "registry" or is_true(output, "push")
    if is_pushed and not names:
        raise InputError("tag is needed when pushing to registry", hint="name one with -t")
    if output.type == "docker" and output.destination and platforms > 1:
        raise InputError(
            "docker exporter does not currently support exporting manifest lists",
            hint="build for one platform, or use type=oci",
        )
    if output.type == "local" and output.destination in {"", "-"}:
        raise InputError("dest is required for local output", hint="name a folder: -o FOLDER")
    if _is_stdout(output) and sys.stdout.isatty():
        raise InputError(
            f"output type={output.type} would write an archive to the terminal",
            hint="name a file with dest=FILE, or redirect standard output",
        )


def _is_stdout(output: Output) -> bool:
    if output.type == "tar":
        return output.destination in {"", "-"}
    if output.type == "docker":
        return output.destination == "-"
    return output.type == "oci" and output.destination in {"", "-"}


@frozen
class Exporter:
    """Carries out outputs. `trees` gives the files of each platform, for those that want files.

    `epoch` is the time of all files in such outputs, in seconds; None leaves them their own. `is_split`
    says that each platform has a folder of its own, unless the output says otherwise.
    """

    store: Store
    carrier: Carrier
    trees: Callable[[], AbstractContextManager[Sequence[FileTree]]]
    sink: Sink
    cancel: CancelToken
    epoch: int | None = None
    is_split: bool = False
    engines: Engines = field(default_factory=dict)

    def run(self, output: Output, export: Export | None) -> None:
        """Carry out one output. `export` is there for the types that hold an image."""
        with cancellable(self.cancel), tree_trouble():
            if output.type in FILE_TYPES:
                self._files(output)
            elif export is not None:
                if output.type in {"oci", "docker"} and not is_for_engine(output):
                    self._layout(output, export)
                else:
                    self._image(output, export)

    def _image(self, output: Output, export: Export) -> None:
        """Keep the image in the local store under its names, and push it if that is asked for."""
        with step(self.sink, "exporting to image") as shown:
            for document in export.documents:
                self.store.blobs.put(document.data, document.descriptor.digest)
            if output.type == "docker":
                self.carrier.ensure(export, shown, self.cancel)
            for number, image in enumerate(export.images):
                with shown.part(f"exporting manifest {image.manifest.descriptor.digest}"):
                    pass
                with shown.part(
                    f"exporting config {export.images[number].config.descriptor.digest}"
                ):
                    pass
            if len(export.images) > 1:
                with shown.part(f"exporting manifest list {export.root.descriptor.digest}"):
                    pass
            if output.type == "registry" or is_true(output, "push"):
                for name in export.names:
                    self.carrier.push(export, name, shown, self.cancel)
            if is_for_engine(output):
                self._load(output, export, shown)
            if is_true(output, "store", default=True):
                self._name(export, shown)

    def _name(self, export: Export, shown: Step) -> None:
        refs: Refs = self.store.refs
        for name in export.names:
            with shown.part(f"naming to {name}"):
                refs.set(name.canonical, compact(export.root.descriptor.to_json()).decode())
        # Layers of base images may be at their registries only: a later push mounts or fetches them.
        for place, digests in export.sources().items():
            self.store.layers.add_sources(place.domain, place.path, digests)

    def _load(self, output: Output, export: Export, shown: Step) -> None:
        """Give the image to docker's engine, if there is one."""
        engine = self.engines.get(output.attributes.get("context", ""))
        if engine is None:
            with shown.part("keeping it in polyarch's own store, as no docker engine listens"):
                return
        from polyarch.exporter.layout import write_archive  # noqa: PLC0415 as below

        # A file knows its size, which the engine wants to be told first.
        path = self.store.temporary("docker-image")
        with (
            shown.part("importing to docker"),
            store_trouble("write", path),
            path.open("w+b", buffering=0) as archive,
        ):
            path.unlink()
            is_single = len(export.images) == 1
            sink = _Whole(archive.fileno())
            write_archive(export, self.store.blobs, sink, for_docker=is_single)
            archive.seek(0)
            engine.load(archive, os.fstat(archive.fileno()).st_size)

    def _layout(self, output: Output, export: Export) -> None:
        # Imported by those who write archives: a push is done sooner.
        from polyarch.exporter.layout import write_archive, write_folder  # noqa: PLC0415

        for_docker = output.type == "docker"
        kind = "docker" if for_docker else "oci"
        with step(self.sink, f"exporting to {kind} image format") as shown:
            for document in export.documents:
                self.store.blobs.put(document.data, document.descriptor.digest)
            self.carrier.ensure(export, shown, self.cancel)
            if is_true(output, "tar", default=True):
                with shown.part("sending tarball"):
                    self._to_file(
                        output.destination,
                        lambda sink: write_archive(
                            export, self.store.blobs, sink, for_docker=for_docker
                        ),
                    )
            else:
                write_folder(export, self.store.blobs, Path(output.destination))

    def _files(self, output: Output) -> None:
        from polyarch.exporter.files import write_files, write_tar  # noqa: PLC0415 as above

        target = "client directory" if output.type == "local" else "client tarball"
        with step(self.sink, f"exporting to {target}") as shown, self.trees() as trees:
            split = is_true(output, "platform-split", default=self.is_split or len(trees) > 1)
            with shown.part("copying files" if output.type == "local" else "sending tarball"):
                epoch = epoch_of(output, self.epoch)
                if output.type == "local":
                    write_files(trees, Path(output.destination), split=split, epoch=epoch)
                else:
                    self._to_file(
                        output.destination,
                        lambda sink: write_tar(trees, sink, split=split, epoch=epoch),
                    )

    def _to_file(self, destination: str, write: Callable[[ByteSink], None]) -> None:
        """Write an archive beside its place and rename it, or write it to standard output."""
        if destination in {"", "-"}:
            write(sys.stdout.buffer)
            sys.stdout.buffer.flush()
            return
        path = Path(destination)
        aside = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
        with output_trouble("write to", path):
            try:
                with aside.open("wb", buffering=0) as stream:
                    write(_Whole(stream.fileno()))
                aside.rename(path)
            finally:
                aside.unlink(missing_ok=True)


class _Whole:
    """Writes all of what it is given to a descriptor, however little the kernel takes at a time."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes, /) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]
