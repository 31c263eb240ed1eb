"""A result's layers as blobs: written, compressed and remembered, each once.

The blob of a snapshot depends on the snapshot and the kind of compression alone, so it is made by
whichever build needs it first and found by all later ones. Layers of images keep the blob that they
came with, wherever that is, unless all layers are wanted in one form.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from types import MappingProxyType
from typing import TYPE_CHECKING

from polyarch.digest import DiffID, Digest
from polyarch.errors import InputError, IntegrityError, NotFound
from polyarch.exporter.counting import Counting, CountingSink, uncounted
from polyarch.golang.strconv import parse_int
from polyarch.layer.kinds import TOC_DIGEST, Compression, check_level
from polyarch.oci import media
from polyarch.oci.descriptor import Descriptor
from polyarch.progress import CancelToken, cancellable
from polyarch.record import frozen, replace
from polyarch.snapshot.snapshotter import Snapshotter
from polyarch.snapshot.stack import LayerRef, LayerStack
from polyarch.store.layers import LayerBlob
from polyarch.store.store import Store
from polyarch.store.trees import tree_size
from polyarch.store.trouble import tree_trouble

if TYPE_CHECKING:
    from polyarch.layer.compress import Compressed, HashedSink
    from polyarch.layer.tar import Sink
    from polyarch.layer.tarread import Source
    from polyarch.store.blobs import BlobWriter

__all__ = ["REWRITTEN", "CompressionChoice", "ExportedLayer", "LayerBlobs"]

_FEW = 2000
"""Files up to which the size of a layer is shown: with more, to add it up takes a fifth of what writing takes."""
_CHUNK = 1 << 20
_NOTHING: Mapping[str, str] = MappingProxyType({})
REWRITTEN = "buildkit/rewritten-timestamp"
"""An annotation of a layer whose files' times were cut off, in seconds."""
_MEDIA_TYPES = {
    Compression.UNCOMPRESSED: media.OCI_LAYER,
    Compression.GZIP: media.OCI_LAYER_GZIP,
    Compression.ESTARGZ: media.OCI_LAYER_GZIP,
    Compression.ZSTD: media.OCI_LAYER_ZSTD,
}
_KINDS = {
    media_type: kind for kind, media_type in _MEDIA_TYPES.items() if kind != Compression.ESTARGZ
}


@frozen
class CompressionChoice:
    """How new layers are written; `level` None is the default one.

    `is_forced` says that layers which came with an image are written anew unless they are of that kind. `latest` is the latest time, in seconds since the epoch, that their files may have; None leaves
    the times as they are.
    """

    kind: Compression = Compression.GZIP
    level: int | None = None
    latest: int | None = None
    is_forced: bool = False

    @staticmethod
    def parse(kind: str, level: str) -> CompressionChoice:
        """Read the exporter's attributes `compression` and `compression-level`. Raises InputError."""
        try:
            chosen = Compression(kind or "gzip")
        except ValueError:
            chosen = Compression.XZ
        if chosen not in _MEDIA_TYPES:
            raise InputError(
                f"unsupported compression type {kind}",
                hint="use gzip, estargz, zstd or uncompressed",
            )
        try:
            number = parse_int(level) if level else None
        except InputError as error:
            raise InputError(
                f"non-integer value {level} specified for compression-level: {error}"
            ) from error
        if number is not None and number < 0:
            raise InputError(f"compression-level can't be negative: {level}")
        check_level(chosen, number)
        return CompressionChoice(kind=chosen, level=number)

    def leaves(self, blob: Descriptor) -> bool:
        """Tell whether a layer that came with an image is taken as it is."""
        if not self.is_forced:
            return True
        if TOC_DIGEST in blob.annotations:
            return self.kind is Compression.ESTARGZ
        kind = _KINDS.get(media.oci_type(media.distributable(blob.media_type)))
        return kind is None or kind is self.kind


@frozen
class ExportedLayer:
    """A layer as an image has it.

    `created` is in seconds since the epoch, None for a layer that came with a base image; `sources`
    are references of images whose repositories have the blob; `description` says how it came about.
    """

    descriptor: Descriptor
    diff_id: DiffID
    created: float | None = None
    sources: tuple[str, ...] = ()
    description: str = ""


def _nowhere(blob: Descriptor, _sources: Sequence[str]) -> None:
    raise NotFound(f"nobody fetches the blob {blob.digest}")


Followed = Callable[["BlobWriter"], AbstractContextManager["HashedSink"]]
"""Gives what is written to in the place of a blob's writer, until the blob is whole."""


@frozen
class LayerBlobs:
    """Makes blobs of layers. Safe to use from many threads and processes at once.

    `counted` shows how far the writing of a layer is; `fetch` brings a layer of an image that has to be read, from one
    of its sources. `followed` gives what a new layer is written to in the place of a blob's writer.
    """

    store: Store
    snapshotter: Snapshotter
    counted: Counting = uncounted
    fetch: Callable[[Descriptor, Sequence[str]], None] = _nowhere
    followed: Followed = nullcontext

    def export(
        self, stack: LayerStack, choice: CompressionChoice, cancel: CancelToken
    ) -> tuple[ExportedLayer, ...]:
        """Return all layers of a stack, base first; new ones are written. Raises StoreError."""
        return tuple(
            self.layer(stack, number, choice, cancel) for number in range(len(stack.layers))
        )

    def layer(
        self, stack: LayerStack, number: int, choice: CompressionChoice, cancel: CancelToken
    ) -> ExportedLayer:
        """Return one layer of a stack."""
        layer = stack.layers[number]
        if layer.blob is not None and layer.diff_id is not None and not self.needs(layer, choice):
            return self._of_image(layer, layer.blob, layer.diff_id, choice, cancel)
        return self._exported(layer, self._blob(stack, number, choice, cancel), choice)

    def needs(self, layer: LayerRef, choice: CompressionChoice) -> bool:
        """Whether a layer that came with a cache has to be written here, for which it has to be unpacked before.

        Because it came as an archive, or because the times of its files are to be cut off.
        """
        if layer.blob is None or layer.diff_id is None or not layer.is_cached:
            return False
        if choice.latest is not None:
            return layer.blob.annotations.get(REWRITTEN) != str(choice.latest)
        is_archive = layer.blob.digest == Digest(layer.diff_id)
        return is_archive and choice.kind is not Compression.UNCOMPRESSED

    def find(
        self, stack: LayerStack, number: int, choice: CompressionChoice
    ) -> ExportedLayer | None:
        """Return one layer of a stack if it needn't be written any more."""
        layer = stack.layers[number]
        if layer.blob is not None and not self.needs(layer, choice):
            return self.layer(stack, number, choice, CancelToken())
        blob = self._find(layer, choice)
        return None if blob is None else self._exported(layer, blob, choice)

    def _exported(
        self, layer: LayerRef, blob: LayerBlob, choice: CompressionChoice
    ) -> ExportedLayer:
        record = self.store.snapshots.find(layer.snapshot)
        made = record.created if record else 0.0
        noted = {} if choice.latest is None else {REWRITTEN: str(choice.latest)}
        return ExportedLayer(
            descriptor=_descriptor(blob, noted),
            diff_id=blob.diff_id,
            created=made if layer.created is None else layer.created,
            description=layer.description or (record.description if record else ""),
        )

    def _of_image(
        self,
        layer: LayerRef,
        blob: Descriptor,
        diff_id: DiffID,
        choice: CompressionChoice,
        cancel: CancelToken,
    ) -> ExportedLayer:
        """Return a layer that came with an image or a cache."""
        kept = ExportedLayer(
            descriptor=blob,
            diff_id=diff_id,
            created=layer.created,
            sources=layer.sources,
            description=layer.description,
        )
        if choice.leaves(blob):
            return kept
        name = f"blob-{diff_id}-{choice.kind}"
        found = self._known(diff_id, choice)
        if found is None:
            with self.store.locks.exclusive(name, check=cancel.check):
                found = self._known(diff_id, choice) or self._convert(kept, choice, cancel)
        return replace(kept, descriptor=_descriptor(found), diff_id=found.diff_id, sources=())

    def _blob(
        self, stack: LayerStack, number: int, choice: CompressionChoice, cancel: CancelToken
    ) -> LayerBlob:
        if choice.latest is not None:
            # Times are cut off: that isn't the snapshot's layer, so it isn't remembered as such.
            return self._write(stack, number, choice, cancel)
        layer = stack.layers[number]
        blob = self._find(layer, choice)
        if blob is not None:
            return blob
        name = f"blob-{layer.snapshot}-{choice.kind}"
        with self.store.locks.exclusive(name, check=cancel.check):
            return self._find(layer, choice) or self._write(stack, number, choice, cancel)

    def _find(self, layer: LayerRef, choice: CompressionChoice) -> LayerBlob | None:
        record = self.store.snapshots.find(layer.snapshot)
        if record is None or record.diff_id is None:
            return None
        return self._known(record.diff_id, choice)

    def _known(self, archive: DiffID, choice: CompressionChoice) -> LayerBlob | None:
        """Return the blob of an archive in the form that is wanted, if it is here."""
        layers = self.store.layers
        is_added_to = choice.kind is Compression.ESTARGZ
        for blob in layers.forms_of(archive) if is_added_to else layers.blobs_of(archive):
            is_wanted = blob.compression == choice.kind and blob.level == choice.level
            if is_wanted and self.store.blobs.has(blob.digest, size=blob.size):
                return blob
        return None

    def _convert(
        self, layer: ExportedLayer, choice: CompressionChoice, cancel: CancelToken
    ) -> LayerBlob:
        """Write a layer of an image anew, in another form. Raises IntegrityError if it isn't what it was said to be."""
        from polyarch.layer import compress  # noqa: PLC0415 as below

        old = layer.descriptor
        self.fetch(old, layer.sources)
        with (
            cancellable(cancel),
            self.store.blobs.open(old.digest) as stream,
            compress.decompressed(stream) as tar,
            self.store.blobs.writer() as writer,
            self.counted(f"converting {old.digest} to {choice.kind}", lambda: 0) as count,
        ):
            made = compress.compress(
                lambda sink: _pour(tar, CountingSink(sink, count)),
                writer,
                choice.kind,
                choice.level,
            )
        if made.archive != layer.diff_id:
            raise IntegrityError(
                f"the layer {old.digest} unpacks to {made.archive}, and not to {layer.diff_id} as its image says",
                hint="the image is damaged or hostile; don't use it",
            )
        return self._remember(made, choice)

    def _remember(self, made: Compressed, choice: CompressionChoice) -> LayerBlob:
        blob = LayerBlob(
            digest=made.digest,
            diff_id=made.diff_id,
            media_type=_MEDIA_TYPES[choice.kind],
            size=made.size,
            compression=choice.kind,
            level=choice.level,
            annotations=made.annotations,
        )
        if made.archive == made.diff_id:
            self.store.layers.add(blob)
        else:
            self.store.layers.add_form(made.archive, blob)
        return blob

    def _write(
        self, stack: LayerStack, number: int, choice: CompressionChoice, cancel: CancelToken
    ) -> LayerBlob:
        # Imported by builds that have something new to write.
        from polyarch.layer import changes, compress  # noqa: PLC0415

        is_linked = stack.layers[number].is_linked
        first = number if is_linked else 0
        below = stack.snapshots[first:number]
        lowers = [path for snapshot in below for path in self.snapshotter.shapes(snapshot)]
        verb = "writing" if choice.kind is Compression.UNCOMPRESSED else "compressing"
        part = f"{verb} layer {number + 1} of {len(stack.layers)}"
        clamp = _clamp(choice.latest)
        # What isn't remembered is mostly what a registry has already, from the last push.
        followed = self.followed if choice.latest is None else nullcontext
        with (
            cancellable(cancel),
            self.snapshotter.layer(stack.snapshots[number]) as upper,
            tree_trouble(),
            self.store.blobs.writer() as writer,
            followed(writer) as sink,
            self.counted(part, lambda: tree_size(upper, most=_FEW)) as count,
        ):
            made = compress.compress(
                lambda tar: changes.write_layer(
                    upper,
                    lowers,
                    CountingSink(tar, count),
                    clamp=clamp,
                    open_lower=self.snapshotter.open_file,
                    is_linked=is_linked,
                ),
                sink,
                choice.kind,
                choice.level,
            )
        blob = self._remember(made, choice)
        if choice.latest is None:
            self.store.snapshots.set_diff_id(stack.layers[number].snapshot, made.archive)
        return blob


def _descriptor(blob: LayerBlob, noted: Mapping[str, str] = _NOTHING) -> Descriptor:
    return Descriptor(
        media_type=blob.media_type,
        digest=blob.digest,
        size=blob.size,
        annotations={**blob.annotations, **noted},
    )


def _pour(source: Source, sink: Sink) -> None:
    while data := source.read(_CHUNK):
        sink.write(data)


def _clamp(latest: int | None) -> Callable[[int], int] | None:
    if latest is None:
        return None
    limit = latest * 1_000_000_000
    return lambda mtime: min(mtime, limit)
