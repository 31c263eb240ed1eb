"""Two images of the same build -> where they differ first: of each layer the first file, of the config each field.

Files whose content differs come before those of which only a time or owner does: without SOURCE_DATE_EPOCH every
file of a layer has another time, which would hide what else there is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager

from polyarch.digest import Digest
from polyarch.images.layout import Layout
from polyarch.images.place import read_blob
from polyarch.layer.compress import decompressed
from polyarch.layer.tar import Entry
from polyarch.layer.tarread import TarReader
from polyarch.oci.config import ImageConfig, parse_config
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.index import parse_index
from polyarch.oci.manifest import Manifest, parse_manifest
from polyarch.oci.media import is_index
from polyarch.oci.platform import NOWHERE
from polyarch.platforms import format_all, normalize
from polyarch.record import frozen, replace

__all__ = ["ConfigDifference", "FileDifference", "LayerDifference", "compare_images"]

_MOST = 4 << 20
"""Bytes of a file that are looked at for the reason."""


@frozen
class FileDifference:
    """A file that isn't the same in both: what of it differs, and the beginnings of both contents, None for none."""

    path: str
    what: str
    first: bytes | None = None
    second: bytes | None = None


@frozen
class LayerDifference:
    """A layer that isn't the same in both. `file` is None if only the archives differ, as by their compression.

    `number` counts from 1; `others` are how many files differ beside it.
    """

    platform: str
    number: int
    layers: int
    step: str
    file: FileDifference | None
    others: int = 0


@frozen
class ConfigDifference:
    """A field of the config that isn't the same in both, with both values as JSON."""

    platform: str
    field: str
    first: str
    second: str


@frozen
class _Image:
    """An image for one platform in its layout."""

    layout: Layout
    manifest: Manifest
    config: ImageConfig


def compare_images(
    first: Layout, second: Layout
) -> tuple[tuple[LayerDifference, ...], tuple[ConfigDifference, ...]]:
    """Compare the images of two layouts that hold one each, platform by platform.

    Raises IntegrityError, InvalidLayer, NotFound for what can't be read.
    """
    ours, theirs = _images(first), _images(second)
    layers: list[LayerDifference] = []
    fields: list[ConfigDifference] = []
    for platform in dict.fromkeys((*ours, *theirs)):
        one, other = ours.get(platform), theirs.get(platform)
        if one is None or other is None:
            fields.append(_field(platform, "platform", one is not None, other is not None))
            continue
        layers += _layers(platform, one, other)
        fields += _fields(platform, one.config, other.config)
    return tuple(layers), tuple(fields)


def _images(layout: Layout) -> dict[str, _Image]:
    root, data = layout.load("latest")
    listed = parse_index(data).manifests if is_index(root.media_type) else (root,)
    found = {}
    for each in listed:
        if each.platform is not None and each.platform.os == NOWHERE.os:
            continue
        manifest = parse_manifest(layout.manifest(each))
        config = parse_config(read_blob(layout, manifest.config))
        platform = format_all(normalize(each.platform or config.platform))
        found[platform] = _Image(layout=layout, manifest=manifest, config=config)
    return found


# --- layers ---


def _at(layers: Sequence[Descriptor], number: int) -> Descriptor | None:
    return layers[number] if number < len(layers) else None


def _layers(platform: str, one: _Image, other: _Image) -> Iterator[LayerDifference]:
    count = max(len(one.manifest.layers), len(other.manifest.layers))
    steps = [entry.created_by for entry in one.config.history if not entry.empty_layer]
    for number in range(count):
        mine = _at(one.manifest.layers, number)
        theirs = _at(other.manifest.layers, number)
        file, others = None, 0
        if mine is not None and theirs is not None:
            if mine.digest == theirs.digest:
                continue
            file, others = _first_file((one.layout, mine), (other.layout, theirs))
        yield LayerDifference(
            platform=platform,
            number=number + 1,
            layers=count,
            step=steps[number] if number < len(steps) else "",
            file=file,
            others=others,
        )


_Layer = tuple[Layout, Descriptor]


def _first_file(one: _Layer, other: _Layer) -> tuple[FileDifference | None, int]:
    """Return the first file that differs, by content if there is one, and how many others do."""
    ours, theirs = _listed(*one), _listed(*other)
    differing: list[tuple[int, str, str]] = []
    for name in dict.fromkeys((*ours, *theirs)):
        found = _difference(ours.get(name), theirs.get(name))
        if found:
            differing.append((int(found.startswith("its ")), name, found))
    if not differing:
        return None, 0
    weight = min(each[0] for each in differing)
    _, name, what = next(each for each in differing if each[0] == weight)
    file = FileDifference(path=f"/{name}", what=what)
    if what == "content":
        file = replace(file, first=_content(*one, name), second=_content(*other, name))
    return file, len(differing) - 1


def _difference(one: tuple[Entry, Digest] | None, other: tuple[Entry, Digest] | None) -> str:
    """Return what differs of a file; "" for nothing."""
    if one is None or other is None:
        return "only the first build has it" if other is None else "only the second build has it"
    (ours, digest), (theirs, other_digest) = one, other
    if digest != other_digest or ours.size != theirs.size:
        return "content"
    for name in ("kind", "link", "mode", "uid", "gid", "xattrs", "mtime_ns"):
        if getattr(ours, name) != getattr(theirs, name):
            shown = "time" if name == "mtime_ns" else name
            return f"its {shown}"
    return ""


def _listed(layout: Layout, layer: Descriptor) -> dict[str, tuple[Entry, Digest]]:
    """Return the members of a layer with the digests of their contents, in their order."""
    found = {}
    with _reader(layout, layer) as reader:
        for entry in reader:
            digest = hashlib.sha256()
            for chunk in reader.content():
                digest.update(chunk)
            found[entry.name] = entry, Digest(digest.hexdigest())
    return found


def _content(layout: Layout, layer: Descriptor, name: str) -> bytes:
    with _reader(layout, layer) as reader:
        for entry in reader:
            if entry.name == name:
                return b"".join(reader.content())[:_MOST]
    return b""


@contextmanager
def _reader(layout: Layout, layer: Descriptor) -> Iterator[TarReader]:
    with closing(layout.open_blob(layer).chunks()) as chunks, decompressed(_Stream(chunks)) as tar:
        yield TarReader(tar)


class _Stream:
    """Chunks as a stream."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks

    def read(self, _size: int, /) -> bytes:
        """Return the next chunk."""
        return next(self._chunks, b"")


# --- configs ---


def _fields(platform: str, one: ImageConfig, other: ImageConfig) -> Iterator[ConfigDifference]:
    """Compare all but the diff IDs, of which the layers tell."""
    ours, theirs = one.to_json(), other.to_json()
    for name in sorted((ours.keys() | theirs.keys()) - {"rootfs", "history"}):
        if ours.get(name) != theirs.get(name):
            yield from _deeper(platform, name, ours.get(name), theirs.get(name))
    histories = [
        [entry for entry in document["history"] if isinstance(entry, dict)]
        if isinstance(document["history"], list)
        else []
        for document in (ours, theirs)
    ]
    yield from _histories(platform, *histories)


def _histories(
    platform: str, ours: Sequence[Mapping[str, object]], theirs: Sequence[Mapping[str, object]]
) -> Iterator[ConfigDifference]:
    """Tell of the first entry that differs."""
    if len(ours) != len(theirs):
        yield _field(platform, "history", len(ours), len(theirs))
        return
    for number, (one, other) in enumerate(zip(ours, theirs, strict=True)):
        for name in sorted(one.keys() | other.keys()):
            if one.get(name) != other.get(name):
                place = f"history[{number}].{name}"
                yield _field(platform, place, one.get(name), other.get(name))
                return


def _deeper(platform: str, name: str, one: object, other: object) -> Iterator[ConfigDifference]:
    if not isinstance(one, dict) or not isinstance(other, dict):
        yield _field(platform, name, one, other)
        return
    for key in sorted(one.keys() | other.keys()):
        if one.get(key) != other.get(key):
            yield _field(platform, f"{name}.{key}", one.get(key), other.get(key))


def _field(platform: str, name: str, one: object, other: object) -> ConfigDifference:
    return ConfigDifference(platform=platform, field=name, first=str(one), second=str(other))
