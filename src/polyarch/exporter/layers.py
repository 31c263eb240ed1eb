"""A result's layers as blobs: written, compressed and remembered, each once.

The blob of a snapshot depends on the snapshot and the kind of compression alone, so it is made by
whichever build needs it first and found by all later ones. Layers of images keep the blob that they
came with, wherever that is.
"""

from __future__ import annotations

from collections.abc import Callable

from polyarch.digest import DiffID, Digest
from polyarch.errors import InputError
from polyarch.exporter.counting import Counting, CountingSink, uncounted
from polyarch.golang.strconv import parse_int
from polyarch.layer.kinds import Compression
from polyarch.oci import media
from polyarch.oci.descriptor import Descriptor
from polyarch.progress import CancelToken, cancellable
from polyarch.record import frozen
from polyarch.snapshot.snapshotter import Snapshotter
from polyarch.snapshot.stack import LayerRef, LayerStack
from polyarch.store.layers import LayerBlob
from polyarch.store.store import Store
from polyarch.store.trees import tree_size
from polyarch.store.trouble import tree_trouble

__all__ = ["CompressionChoice", "ExportedLayer", "LayerBlobs"]

_FEW = 2000
"""Files up to which the size of a layer is shown: with more, to add it up takes a fifth of what writing takes."""
_REWRITTEN = "buildkit/rewritten-timestamp"
_MEDIA_TYPES = {
    Compression.UNCOMPRESSED: media.OCI_LAYER,
    Compression.GZIP: media.OCI_LAYER_GZIP,
    Compression.ZSTD: media.OCI_LAYER_ZSTD,
}


@frozen
class CompressionChoice:
    """How new layers are written; `level` None is the default one.

    `latest` is the latest time, in seconds since the epoch, that their files may have; None leaves
    the times as they are.
    """

    kind: Compression = Compression.GZIP
    level: int | None = None
    latest: int | None = None

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
                hint="use gzip, zstd or uncompressed",
            )
        try:
            number = parse_int(level) if level else None
        except InputError as error:
            raise InputError(
                f"non-integer value {level} specified for compression-level: {error}"
            ) from error
        if number is not None and number < 0:
            raise InputError(f"compression-level can't be negative: {level}")
        return CompressionChoice(kind=chosen, level=number)


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


@frozen
class LayerBlobs:
    """Makes blobs of layers. Safe to use from many threads and processes at once.

    `counted` shows how far the writing of a layer is.
    """

    store: Store
    snapshotter: Snapshotter
    counted: Counting = uncounted

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
            return ExportedLayer(
                descriptor=layer.blob,
                diff_id=layer.diff_id,
                created=layer.created,
                sources=layer.sources,
                description=layer.description,
            )
        return self._exported(layer, self._blob(stack, number, choice, cancel), choice)

    def needs(self, layer: LayerRef, choice: CompressionChoice) -> bool:
        """Whether a layer has to be compressed here that came with a cache as an archive: it has to be unpacked before."""
        if layer.blob is None or layer.diff_id is None:
            return False
        is_archive = layer.is_cached and layer.blob.digest == Digest(layer.diff_id)
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
        annotations = {} if choice.latest is None else {_REWRITTEN: str(choice.latest)}
        return ExportedLayer(
            descriptor=Descriptor(
                media_type=blob.media_type,
                digest=blob.digest,
                size=blob.size,
                annotations=annotations,
            ),
            diff_id=blob.diff_id,
            created=made if layer.created is None else layer.created,
            description=layer.description or (record.description if record else ""),
        )

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
        for blob in self.store.layers.blobs_of(record.diff_id):
            is_wanted = blob.compression == choice.kind and blob.level == choice.level
            if is_wanted and self.store.blobs.has(blob.digest, size=blob.size):
                return blob
        return None

    def _write(
        self, stack: LayerStack, number: int, choice: CompressionChoice, cancel: CancelToken
    ) -> LayerBlob:
        # Imported by builds that have something new to write.
        from polyarch.layer import changes, compress  # noqa: PLC0415

        first = number if stack.layers[number].is_linked else 0
        below = stack.snapshots[first:number]
        lowers = [path for snapshot in below for path in self.snapshotter.paths(snapshot)]
        verb = "writing" if choice.kind is Compression.UNCOMPRESSED else "compressing"
        part = f"{verb} layer {number + 1} of {len(stack.layers)}"
        clamp = _clamp(choice.latest)
        with (
            cancellable(cancel),
            self.snapshotter.layer(stack.snapshots[number]) as upper,
            tree_trouble(),
            self.store.blobs.writer() as writer,
            self.counted(part, lambda: tree_size(upper, most=_FEW)) as count,
        ):
            made = compress.compress(
                lambda sink: changes.write_layer(
                    upper, lowers, CountingSink(sink, count), clamp=clamp
                ),
                writer,
                choice.kind,
                choice.level,
            )
        blob = LayerBlob(
            digest=made.digest,
            diff_id=made.diff_id,
            media_type=_MEDIA_TYPES[choice.kind],
            size=made.size,
            compression=choice.kind,
            level=choice.level,
        )
        self.store.layers.add(blob)
        if choice.latest is None:
            self.store.snapshots.set_diff_id(stack.layers[number].snapshot, made.diff_id)
        return blob


def _clamp(latest: int | None) -> Callable[[int], int] | None:
    if latest is None:
        return None
    limit = latest * 1_000_000_000
    return lambda mtime: min(mtime, limit)
