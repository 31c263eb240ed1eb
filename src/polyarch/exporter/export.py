"""Images -> every output that was asked for.

Everything is checked before anything is written, and names are set last: what an output promises is
there when its name is.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol

from polyarch.digest import Digest
from polyarch.errors import InputError, InvalidReference
from polyarch.exporter.annotations import INDEX, INDEX_DESCRIPTOR, Annotations
from polyarch.exporter.counting import CountingSink
from polyarch.exporter.outfile import Whole, write_output
from polyarch.exporter.result import Export, FileTree
from polyarch.golang.strconv import parse_bool, parse_int, quote
from polyarch.images.places import Places
from polyarch.images.store_place import Fetcher, StorePlace, remember
from polyarch.oci.reference import Reference
from polyarch.oci.reference import parse as parse_reference
from polyarch.progress import CancelToken, Sink, Step, cancellable, step
from polyarch.record import field, frozen
from polyarch.request.outputs import is_mirror
from polyarch.request.values import Output
from polyarch.store.store import Store
from polyarch.store.trouble import store_trouble, tree_trouble
from polyarch.text.epoch import parse_epoch
from polyarch.text.nearest import suggestion

__all__ = [
    "Engines",
    "Exporter",
    "ImageEngine",
    "annotations_of",
    "check_outputs",
    "epoch_of",
    "is_for_engine",
    "is_true",
    "names_of",
    "step_name",
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
_FILE_ATTRIBUTES = frozenset({"mode", "platform-split", "source-date-epoch"})


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
    names = map(str.strip, output.attributes.get("name", "").split(","))
    return tuple(_parse_name(name) for name in names if name)


def _parse_name(text: str) -> Reference:
    try:
        return parse_reference(text)
    except InvalidReference as error:
        message = f"failed to parse ref {quote(text)}: {error}"
        raise InvalidReference(message, hint=error.hint) from error


def is_true(output: Output, key: str, *, default: bool = False) -> bool:
    """Read a bool attribute. Raises InputError."""
    text = output.attributes.get(key)
    if text is None:
        return default
    try:
        return parse_bool(text)
    except InputError as error:
        of = "" if key == "platform-split" else "specified "
        named = f"{key}: {text}" if key == "platform-split" else key
        message = f"non-bool value {of}for {named}: {error}"
        raise InputError(message, hint="write true or false") from error


def epoch_of(output: Output, epoch: int | None) -> int | None:
    """Return the latest time, in seconds, of what is new in an output: its own or that of the build.

    Raises InputError.
    """
    text = output.attributes.get("source-date-epoch", "")
    if not text:
        return epoch
    try:
        seconds = parse_int(text)
    except InputError as error:
        raise InputError(
            f"invalid source-date-epoch: {error}", hint="give whole seconds since 1970"
        ) from error
    return parse_epoch(str(seconds))


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


def _check(output: Output, platforms: int) -> None:
    if output.type not in _KNOWN:
        near = suggestion(output.type, _KNOWN)
        raise InputError(
            f"exporter {quote(output.type)} could not be found{near}",
            hint="use one of " + ", ".join(_KNOWN),
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
    for name in ("oci-mediatypes", "platform-split", "tar"):
        is_true(output, name)
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


def step_name(output: Output) -> str:
    """Return the name of the step that an output is shown as."""
    if output.type in FILE_TYPES:
        target = "client directory" if output.type == "local" else "client tarball"
    elif output.type in {"oci", "docker"} and not is_for_engine(output):
        target = f"{output.type} image format"
    else:
        target = "image"
    return f"exporting to {target}"


@frozen
class Exporter:
    """Carries out outputs. `places` are where images are; `trees` gives the files of each platform.

    `epoch` is the time of all files in such outputs, in seconds; None leaves them their own. `is_split`
    says that each platform has a directory of its own, unless the output says otherwise. `remarks` are
    warnings of what was asked for.
    """

    store: Store
    places: Places
    trees: Callable[[], AbstractContextManager[Sequence[FileTree]]]
    sink: Sink
    cancel: CancelToken
    epoch: int | None = None
    is_split: bool = False
    remarks: tuple[str, ...] = ()
    engines: Engines = field(default_factory=dict)

    def run(self, output: Output, export: Export | None, announced: Digest | None = None) -> None:
        """Carry out one output. `export` is there for the types that hold an image.

        `announced` is what `announce` returned for its `step_name`.
        """
        with cancellable(self.cancel), tree_trouble(), self._step(output, announced) as shown:
            if output.type in FILE_TYPES:
                self._files(output, shown)
            elif export is not None:
                if output.type in {"oci", "docker"} and not is_for_engine(output):
                    self._layout(output, export, shown)
                else:
                    self._image(output, export, shown)

    def _image(self, output: Output, export: Export, shown: Step) -> None:
        """Keep the image in the local store under its names, and push it if that is asked for."""
        for document in export.documents:
            self.store.blobs.put(document.data, document.descriptor.digest)
        if output.type == "docker":
            self._ensure(export, shown)
        for number, image in enumerate(export.images):
            with shown.part(f"exporting manifest {image.manifest.descriptor.digest}"):
                pass
            with shown.part(f"exporting config {export.images[number].config.descriptor.digest}"):
                pass
        if len(export.images) > 1:
            with shown.part(f"exporting manifest list {export.root.descriptor.digest}"):
                pass
        if output.type == "registry" or is_true(output, "push"):
            self._push(export, shown)
        if is_for_engine(output):
            self._load(output, export, shown)
        if is_true(output, "store", default=True):
            self._name(export, shown)

    @contextmanager
    def _step(self, output: Output, announced: Digest | None) -> Iterator[Step]:
        with step(self.sink, step_name(output), announced) as shown:
            yield shown
            for remark in self.remarks:
                shown.warn(remark)

    def _name(self, export: Export, shown: Step) -> None:
        source = self._source(export, shown)
        for name in export.names:
            with shown.part(f"naming to {name}"):
                source.tag(name.canonical, export.root.descriptor, export.root.data)
        remember(self.store, export.sources)

    def _source(self, export: Export, shown: Step) -> StorePlace:
        """Return where an export is: in the store, but for base layers that nobody has read."""
        fetcher = Fetcher(store=self.store, places=self.places, cancel=self.cancel, shown=shown)
        return StorePlace(fetcher=fetcher, sources=export.sources)

    def _ensure(self, export: Export, shown: Step) -> None:
        """Fetch the base layers that aren't in the store yet."""
        fetcher = self._source(export, shown).fetcher
        for image in export.images:
            for layer in image.layers:
                if layer.sources:
                    fetcher.ensure(layer.descriptor, layer.sources)

    def _push(self, export: Export, shown: Step) -> None:
        from polyarch.images.local import push  # noqa: PLC0415 as below

        for name in export.names:
            push(self._source(export, shown), export.root.descriptor, export.blobs, name)

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
            shown.part("importing to docker", self._size(export)) as count,
            store_trouble("write", path),
            path.open("w+b", buffering=0) as archive,
        ):
            path.unlink()
            is_single = len(export.images) == 1
            sink = CountingSink(Whole(archive.fileno()), count)
            write_archive(export, self.store.blobs, sink, for_docker=is_single)
            archive.seek(0)
            engine.load(archive, os.fstat(archive.fileno()).st_size)

    def _size(self, export: Export) -> int:
        return sum(map(self.store.blobs.size, export.digests))

    def _layout(self, output: Output, export: Export, shown: Step) -> None:
        # Imported by those who write archives: a push is done sooner.
        from polyarch.exporter.layout import write_archive, write_directory  # noqa: PLC0415

        for_docker = output.type == "docker"
        for document in export.documents:
            self.store.blobs.put(document.data, document.descriptor.digest)
        if is_true(output, "tar", default=True):
            self._ensure(export, shown)
            blobs = self.store.blobs
            with shown.part("sending tarball", self._size(export)) as count:
                write_output(
                    output.destination,
                    lambda sink: write_archive(
                        export, blobs, CountingSink(sink, count), for_docker=for_docker
                    ),
                )
        else:
            write_directory(export, self._source(export, shown), Path(output.destination))

    def _files(self, output: Output, shown: Step) -> None:
        from polyarch.exporter.directory import DirectoryOptions, write_files  # noqa: PLC0415
        from polyarch.exporter.files import write_tar  # noqa: PLC0415 as above

        with self.trees() as trees:
            split = is_true(output, "platform-split", default=self.is_split or len(trees) > 1)
            name = "copying files" if output.type == "local" else "sending tarball"
            with shown.part(name) as count:
                epoch = epoch_of(output, self.epoch)
                if output.type == "local":
                    wanted = DirectoryOptions(
                        split=split,
                        epoch=epoch,
                        is_mirror=is_mirror(output),
                        check=self.cancel.check,
                    )
                    write_files(trees, Path(output.destination), wanted)
                else:
                    write_output(
                        output.destination,
                        lambda sink: write_tar(
                            trees, CountingSink(sink, count), split=split, epoch=epoch
                        ),
                    )
