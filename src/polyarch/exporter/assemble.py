"""From layers and a config to an image, and from images to an index.

Source: OCI image-spec v1.1, config.md, manifest.md and image-index.md; times in the history as BuildKit
fills them in.
"""

from __future__ import annotations

from collections.abc import Sequence

from polyarch.digest import sha256
from polyarch.exporter.annotations import INDEX, MANIFEST, MANIFEST_DESCRIPTOR, Annotations
from polyarch.exporter.layers import ExportedLayer
from polyarch.golang.json import compact, indented
from polyarch.golang.time import find_time, time_of
from polyarch.graph.op import JSONObject
from polyarch.oci import media
from polyarch.oci.descriptor import Descriptor
from polyarch.platforms import Platform
from polyarch.record import frozen, replace

__all__ = ["Document", "ImageResult", "assemble", "assemble_index", "document"]

_SYNTHETIC_COMMENT = "buildkit.exporter.image.v0"


@frozen
class Document:
    """A JSON document and its descriptor."""

    descriptor: Descriptor
    data: bytes


@frozen
class ImageResult:
    """The image of one platform: its manifest and config as they are stored, and its layers."""

    platform: Platform
    manifest: Document
    config: Document
    layers: tuple[ExportedLayer, ...]


def document(media_type: str, data: bytes, platform: Platform | None = None) -> Document:
    """Return a document with its descriptor."""
    descriptor = Descriptor(
        media_type=media_type, digest=sha256(data), size=len(data), platform=platform
    )
    return Document(descriptor=descriptor, data=data)


def assemble(
    config: JSONObject,
    history: Sequence[JSONObject],
    layers: Sequence[ExportedLayer],
    platform: Platform,
    *,
    moment: int | None = None,
    epoch: int | None = None,
    annotations: Annotations = Annotations(),  # noqa: B008 - immutable
) -> ImageResult:
    """Make the image of one platform.

    `config` lacks `rootfs`, `history` and `created`; entries of `history` without a time are new.
    `moment`, in seconds, is the time of all of them, however late it is; None gives them that of their
    layers. `epoch`, in seconds, is the latest time that they may have.
    """
    known = [dict(entry) for entry in history]
    if moment is not None:
        for entry in known:
            entry["created"] = entry.get("created") or time_of(_clamped(moment, epoch)).rfc3339()
    entries = _dated(_completed(known, layers), layers, epoch)
    whole: JSONObject = {
        **config,
        "history": entries,
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
    }
    # As BuildKit has it: an image without any history says that it doesn't know.
    whole["created"] = next(
        (entry["created"] for entry in reversed(entries) if "created" in entry), None
    )
    config_document = document(media.OCI_CONFIG, compact(whole, sort_keys=True))
    manifest: JSONObject = {
        "schemaVersion": 2,
        "mediaType": media.OCI_MANIFEST,
        "config": config_document.descriptor.to_json(),
        "layers": [layer.descriptor.to_json() for layer in layers],
    }
    if noted := annotations.find(MANIFEST, platform):
        manifest["annotations"] = noted
    made = document(media.OCI_MANIFEST, indented(manifest), _config_platform(whole))
    on_descriptor = annotations.find(MANIFEST_DESCRIPTOR, platform)
    return ImageResult(
        platform=platform,
        config=config_document,
        manifest=replace(made, descriptor=replace(made.descriptor, annotations=on_descriptor)),
        layers=tuple(layers),
    )


def _config_platform(config: JSONObject) -> Platform:
    def text(key: str) -> str:
        value = config.get(key)
        return value if isinstance(value, str) else ""

    features = config.get("os.features")
    return Platform(
        os=text("os"),
        architecture=text("architecture"),
        variant=text("variant"),
        os_version=text("os.version"),
        os_features=tuple(map(str, features)) if isinstance(features, list) else (),
    )


def assemble_index(
    images: Sequence[ImageResult],
    annotations: Annotations = Annotations(),  # noqa: B008 - immutable
) -> Document:
    """Make the index of several platforms' images, in the given order."""
    index: JSONObject = {
        "schemaVersion": 2,
        "mediaType": media.OCI_INDEX,
        "manifests": [image.manifest.descriptor.to_json() for image in images],
    }
    if noted := annotations.find(INDEX):
        index["annotations"] = noted
    return document(media.OCI_INDEX, indented(index))


def _completed(history: Sequence[JSONObject], layers: Sequence[ExportedLayer]) -> list[JSONObject]:
    """Return a history with as many entries that made a layer as there are layers."""
    entries: list[JSONObject] = []
    made = 0
    for entry in history:
        if not entry.get("empty_layer"):
            made += 1
        if made > len(layers) and not entry.get("empty_layer"):
            entries.append({**entry, "empty_layer": True})
        else:
            entries.append(dict(entry))
    for layer in layers[made:]:
        entry = {"created_by": layer.description or "created by buildkit"}
        entries.append({**entry, "comment": _SYNTHETIC_COMMENT})
    return entries


def _dated(
    entries: list[JSONObject], layers: Sequence[ExportedLayer], epoch: int | None
) -> list[JSONObject]:
    """Give every entry a time: that of its layer, else that of the entry before it.

    Entries before the first new layer have that one's time, not that of the base image.
    """
    number = 0
    for entry in entries:
        if not entry.get("empty_layer"):
            created = layers[number].created
            if not entry.get("created") and created is not None:
                entry["created"] = time_of(_clamped(created, epoch)).rfc3339()
            number += 1
    time = _first_new_time(entries)
    is_new = False
    for entry in entries:
        if not entry.get("created"):
            is_new = True
            entry["created"] = time
        elif is_new:
            time = entry["created"]
    return [_in_order(entry) for entry in entries]


def _first_new_time(entries: list[JSONObject]) -> object:
    """Return the first time behind an entry that has none, else the last one that there is."""
    time: object = None
    is_new = False
    for entry in entries:
        if entry.get("created"):
            time = entry["created"]
            if is_new:
                break
        else:
            is_new = True
    return time


_HISTORY_KEYS = ("created", "created_by", "author", "comment", "empty_layer")


def _in_order(entry: JSONObject) -> JSONObject:
    """Write the keys in the order of the specification; values that say nothing are left out."""
    written = {key: entry[key] for key in _HISTORY_KEYS if entry.get(key)}
    if isinstance(created := written.get("created"), str):
        written["created"] = _as_go_writes(created)
    return written


def _as_go_writes(created: str) -> str:
    """Write a time as it comes out of BuildKit, which reads those of base images and prints them."""
    time = find_time(created)
    return created if time is None else time.rfc3339()


def _clamped(seconds: float, epoch: int | None) -> float:
    return seconds if epoch is None else min(seconds, float(epoch))
