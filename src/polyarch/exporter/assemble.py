"""From layers and a config to an image, and from images to an index.

Source: OCI image-spec v1.1, config.md, manifest.md and image-index.md; times in the history as BuildKit
fills them in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from polyarch.exporter.annotations import INDEX, MANIFEST, MANIFEST_DESCRIPTOR, Annotations
from polyarch.exporter.attested import Attested
from polyarch.exporter.layers import ExportedLayer
from polyarch.exporter.types import Types
from polyarch.golang.json import compact, indented
from polyarch.golang.time import find_time, time_of
from polyarch.graph.op import JSONObject
from polyarch.oci import media
from polyarch.oci.config import HistoryEntry, ImageConfig
from polyarch.oci.documents import Document, document
from polyarch.platforms import Platform
from polyarch.record import frozen, replace

__all__ = ["ImageResult", "assemble", "assemble_index"]

_NONE = Annotations()
_TYPES = Types()
_SYNTHETIC_COMMENT = "buildkit.exporter.image.v0"


@frozen
class ImageResult:
    """The image of one platform: its manifest and config as they are stored, and its layers."""

    platform: Platform
    manifest: Document
    config: Document
    layers: tuple[ExportedLayer, ...]


def assemble(
    config: ImageConfig,
    layers: Sequence[ExportedLayer],
    platform: Platform,
    *,
    moment: int | None = None,
    epoch: int | None = None,
    annotations: Annotations = _NONE,
    types: Types = _TYPES,
) -> ImageResult:
    """Make the image of one platform.

    `config` lacks its layers and its time; entries of its history without a time are new.
    `moment`, in seconds, is the time of all of them, however late it is; None gives them that of their
    layers. `epoch`, in seconds, is the latest time that they may have.
    """
    layers = [types.described(layer) for layer in layers]
    history = config.history
    if moment is not None:
        time = time_of(_clamped(moment, epoch)).rfc3339()
        history = tuple(_at(entry, entry.created or time) for entry in history)
    history = _dated(_completed(history, layers), layers, epoch)
    whole = replace(
        config,
        history=history,
        diff_ids=tuple(layer.diff_id for layer in layers),
        created=next((entry.created for entry in reversed(history) if entry.created), ""),
    )
    # BuildKit puts a config together as a map of parts that Go's structs wrote, each in its own order.
    parts = dict(sorted(whole.to_json().items()))
    config_document = document(types.named(media.OCI_CONFIG), compact(parts))
    manifest: JSONObject = {
        "schemaVersion": 2,
        "mediaType": types.named(media.OCI_MANIFEST),
        "config": config_document.descriptor.to_json(),
        "layers": [layer.descriptor.to_json() for layer in layers],
    }
    if noted := annotations.find(MANIFEST, platform):
        manifest["annotations"] = noted
    made = document(types.named(media.OCI_MANIFEST), indented(manifest), whole.platform)
    on_descriptor = annotations.find(MANIFEST_DESCRIPTOR, platform)
    return ImageResult(
        platform=platform,
        config=config_document,
        manifest=replace(made, descriptor=replace(made.descriptor, annotations=on_descriptor)),
        layers=tuple(layers),
    )


def assemble_index(
    images: Sequence[ImageResult],
    annotations: Annotations = _NONE,
    types: Types = _TYPES,
    attested: Sequence[Attested] = (),
) -> Document:
    """Make the index of images, in the given order, and of what is attested of them."""
    listed = [each.manifest for each in images] + [each.manifest for each in attested]
    index: JSONObject = {
        "schemaVersion": 2,
        "mediaType": types.named(media.OCI_INDEX),
        "manifests": [each.descriptor.to_json() for each in listed],
    }
    if noted := annotations.find(INDEX):
        index["annotations"] = noted
    return document(types.named(media.OCI_INDEX), indented(index))


def _completed(
    history: Sequence[HistoryEntry], layers: Sequence[ExportedLayer]
) -> list[HistoryEntry]:
    """Return a history with as many entries that made a layer as there are layers."""
    entries: list[HistoryEntry] = []
    made = 0
    for entry in history:
        if not entry.empty_layer:
            made += 1
        is_spare = made > len(layers) and not entry.empty_layer
        entries.append(replace(entry, empty_layer=True) if is_spare else entry)
    for layer in layers[made:]:
        by = layer.description or "created by buildkit"
        entries.append(HistoryEntry(created_by=by, comment=_SYNTHETIC_COMMENT))
    return entries


def _dated(
    entries: Sequence[HistoryEntry], layers: Sequence[ExportedLayer], epoch: int | None
) -> tuple[HistoryEntry, ...]:
    """Give every entry a time: that of its layer, else that of the entry before it.

    Entries before the first new layer have that one's time, not that of the base image.
    """
    times: list[str] = []
    number = 0
    for entry in entries:
        time = entry.created
        if not entry.empty_layer:
            created = layers[number].created
            if not time and created is not None:
                time = time_of(_clamped(created, epoch)).rfc3339()
            number += 1
        times.append(time)
    latest = _first_new_time(times)
    is_new = False
    dated: list[HistoryEntry] = []
    for entry, time in zip(entries, times, strict=True):
        if not time:
            is_new = True
        elif is_new:
            latest = time
        dated.append(_at(entry, _as_go_writes(time or latest)))
    return tuple(dated)


def _first_new_time(times: Iterable[str]) -> str:
    """Return the first time behind an entry that has none, else the last one that there is."""
    found = ""
    is_new = False
    for time in times:
        if time:
            found = time
            if is_new:
                break
        else:
            is_new = True
    return found


def _at(entry: HistoryEntry, created: str) -> HistoryEntry:
    return entry if entry.created == created else replace(entry, created=created)


def _as_go_writes(created: str) -> str:
    """Write a time as it comes out of BuildKit, which reads those of base images and prints them."""
    time = find_time(created)
    return created if time is None else time.rfc3339()


def _clamped(seconds: float, epoch: int | None) -> float:
    return seconds if epoch is None else min(seconds, float(epoch))
