"""An archive of images, or a directory -> the local store: what `docker save`, `podman save` and `skopeo` write.

The archive is an OCI layout, or has the older `manifest.json`, or both; it may be compressed. It is read once, from
a pipe if need be: blobs go into the store as they come, verified where their names tell the digest. Names are set last.

    index.json, oci-layout, blobs/ALGORITHM/HEX     a layout; images have their names in annotations
    manifest.json, ID.json, ID/layer.tar            docker's own, before it wrote layouts; layers are links perhaps
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator, Mapping
from typing import BinaryIO

from polyarch.digest import Digest, parse_digest
from polyarch.errors import IntegrityError, InvalidDigest, InvalidReference
from polyarch.golang.json import compact, read_json
from polyarch.images.local import keep_image, manifests_of
from polyarch.images.members import DirectoryMembers, Members
from polyarch.layer.compress import decompressed, detect
from polyarch.layer.kinds import Compression
from polyarch.layer.tar import FILE, HARD_LINK, SYMLINK, Entry
from polyarch.layer.tarread import TarReader
from polyarch.oci import media
from polyarch.oci.base import IMAGE_NAME, REF_NAME
from polyarch.oci.config import parse_config
from polyarch.oci.descriptor import DOCUMENT_LIMIT, Descriptor
from polyarch.oci.fields import Fields
from polyarch.oci.index import parse_index
from polyarch.oci.reference import Reference
from polyarch.oci.reference import parse as parse_reference
from polyarch.progress import CancelToken, cancellable
from polyarch.record import field, frozen, mutable
from polyarch.store.store import Store

__all__ = ["LoadedImage", "load_directory", "load_images"]

_BLOBS = "blobs/"
_DOCUMENTS = frozenset({"index.json", "manifest.json"})
_MOST_NAMES = 1 << 16
_LAYER_TYPES = {
    Compression.UNCOMPRESSED: media.OCI_LAYER,
    Compression.GZIP: media.OCI_LAYER_GZIP,
    Compression.ZSTD: media.OCI_LAYER_ZSTD,
}


@frozen
class LoadedImage:
    """An image that is in the store now. Without names it stays only if the caller gives it one."""

    root: Descriptor
    names: tuple[Reference, ...] = ()


def load_images(
    store: Store, stream: BinaryIO, *, cancel: CancelToken, keeps: bool = True
) -> tuple[LoadedImage, ...]:
    """Read an archive and keep its images under their names, unless the caller does; return all of them, in their order.

    Raises InvalidLayer for what is no archive, IntegrityError for one that is damaged or lacks something, StoreError.
    """
    with cancellable(cancel), decompressed(stream) as plain:
        return _load(store, TarReader(plain), cancel, keeps=keeps)


def load_directory(store: Store, directory: str, *, cancel: CancelToken) -> tuple[LoadedImage, ...]:
    """Read an image layout in a directory, or what an archive was unpacked into, as `load_images` reads archives.

    Raises IntegrityError for what is damaged or lacks something, StoreError.
    """
    with cancellable(cancel):
        return _load(store, DirectoryMembers(directory), cancel, keeps=True)


def _load(
    store: Store, members: Members, cancel: CancelToken, *, keeps: bool
) -> tuple[LoadedImage, ...]:
    contents = _Contents(store=store)
    for entry in members:
        cancel.check()
        contents.take(entry, members)
    images = tuple(contents.images())
    for image in images:
        _check_whole(store, image)
    for image in images if keeps else ():
        for name in image.names:
            keep_image(store, name, image.root)
    return images


@mutable
class _Contents:
    """What an archive has had so far."""

    store: Store
    files: dict[str, tuple[Digest, int]] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)
    documents: dict[str, bytes] = field(default_factory=dict)

    def take(self, entry: Entry, reader: Members) -> None:
        """Take the next member."""
        name = posixpath.normpath(entry.name).lstrip("/")
        if len(self.files) + len(self.links) > _MOST_NAMES:
            raise IntegrityError(f"the archive has more than {_MOST_NAMES} files")
        if entry.kind == SYMLINK:
            self.links[name] = posixpath.normpath(
                posixpath.join(posixpath.dirname(name), entry.link)
            )
        elif entry.kind == HARD_LINK:
            self.links[name] = posixpath.normpath(entry.link).lstrip("/")
        elif entry.kind == FILE and name in _DOCUMENTS:
            if entry.size > DOCUMENT_LIMIT:
                raise IntegrityError(f"{name} of the archive has more than {DOCUMENT_LIMIT} bytes")
            self.documents[name] = b"".join(reader.content())
        elif entry.kind == FILE:
            with self.store.blobs.writer(_digest_of(name)) as writer:
                for chunk in reader.content():
                    writer.write(chunk)
            self.files[name] = writer.digest, writer.size

    def images(self) -> Iterator[LoadedImage]:
        """Give the images. Raises IntegrityError."""
        if "index.json" in self.documents:
            yield from self._of_layout(self.documents["index.json"])
        elif "manifest.json" in self.documents:
            for each in _objects(self.documents["manifest.json"]):
                yield self._of_docker(each)
        else:
            raise IntegrityError(
                "the archive holds no image: it has neither index.json nor manifest.json",
                hint="give it what polyarch save, docker save or podman save has written",
            )

    def _of_layout(self, index: bytes) -> Iterator[LoadedImage]:
        names: dict[Digest, list[Reference]] = {}
        roots: dict[Digest, Descriptor] = {}
        for each in parse_index(index).manifests:
            roots.setdefault(
                each.digest,
                Descriptor(media_type=each.media_type, digest=each.digest, size=each.size),
            )
            name = _name(each.annotations)
            names.setdefault(each.digest, []).extend([name] if name else [])
        tags = dict(self._docker_tags())
        for digest, root in roots.items():
            found = names[digest]
            if not found and len(roots) == 1:
                # Docker's own archive of several names has them there alone.
                found = [name for listed in tags.values() for name in listed]
            yield LoadedImage(root=root, names=tuple(dict.fromkeys(found)))

    def _docker_tags(self) -> Iterator[tuple[str, list[Reference]]]:
        if "manifest.json" in self.documents:
            for each in _objects(self.documents["manifest.json"]):
                yield each.text("Config"), list(map(_parsed, each.texts("RepoTags")))

    def _of_docker(self, fields: Fields) -> LoadedImage:
        config, size = self._file(fields.text("Config"))
        diff_ids = parse_config(self.store.blobs.read(config)).diff_ids
        layers = [self._layer(path) for path in fields.texts("Layers")]
        if len(layers) != len(diff_ids):
            raise IntegrityError(
                f"the archive has {len(layers)} layers for {fields.text('Config')}, which names {len(diff_ids)}"
            )
        for layer, diff_id in zip(layers, diff_ids, strict=True):
            if layer.media_type == media.OCI_LAYER and str(layer.digest) != str(diff_id):
                raise IntegrityError(
                    f"a layer of the archive is {layer.digest} instead of {diff_id}"
                )
        document = {
            "schemaVersion": 2,
            "mediaType": media.OCI_MANIFEST,
            "config": Descriptor(media_type=media.OCI_CONFIG, digest=config, size=size).to_json(),
            "layers": [layer.to_json() for layer in layers],
        }
        data = compact(document)
        digest = self.store.blobs.put(data)
        root = Descriptor(media_type=media.OCI_MANIFEST, digest=digest, size=len(data))
        return LoadedImage(root=root, names=tuple(map(_parsed, fields.texts("RepoTags"))))

    def _layer(self, path: str) -> Descriptor:
        digest, size = self._file(path)
        with self.store.blobs.open(digest) as stream:
            kind = detect(stream.read(64))
        if kind not in _LAYER_TYPES:
            raise IntegrityError(
                f"{path} of the archive is compressed with {kind}, as no layer may be"
            )
        return Descriptor(media_type=_LAYER_TYPES[kind], digest=digest, size=size)

    def _file(self, path: str) -> tuple[Digest, int]:
        name = posixpath.normpath(path).lstrip("/")
        for _ in range(len(self.links) + 1):
            if name not in self.links:
                break
            name = self.links[name]
        if name not in self.files:
            raise IntegrityError(
                f"the archive lacks {path}, which its manifest.json names",
                hint="it was cut short, or isn't whole: save the image again",
            )
        return self.files[name]


def _digest_of(name: str) -> Digest | None:
    """Return the digest that a file's name tells, if it is a blob of a layout."""
    if not name.startswith(_BLOBS):
        return None
    try:
        return parse_digest(name.removeprefix(_BLOBS).replace("/", ":", 1))
    except InvalidDigest:
        return None


def _name(annotations: Mapping[str, str]) -> Reference | None:
    """Return the whole name that an entry of a layout has; a tag alone is none."""
    for text in (annotations.get(IMAGE_NAME, ""), annotations.get(REF_NAME, "")):
        if "/" in text or ":" in text:
            return _parsed(text)
    return None


def _parsed(text: str) -> Reference:
    try:
        return parse_reference(text)
    except InvalidReference as error:
        raise IntegrityError(f"the archive names an image {text!r}: {error}") from error


def _objects(data: bytes) -> Iterable[Fields]:
    try:
        found = read_json(data)
    except ValueError as error:
        raise IntegrityError(f"manifest.json of the archive is no JSON: {error}") from error
    if isinstance(found, dict) and "schemaVersion" in found:
        raise IntegrityError(
            "it holds no image that can be loaded: manifest.json is that of one image, not a list of images",
            hint="skopeo copy dir:DIRECTORY oci-archive:FILE.tar makes an archive of it",
        )
    return Fields({"manifest": found}, "manifest.json").objects("manifest")


def _check_whole(store: Store, image: LoadedImage) -> None:
    """Raise IntegrityError unless an image is here for one platform at least, and for none in half."""
    is_here = False
    for descriptor, manifest in manifests_of(store, image.root):
        if manifest is None:
            continue
        missing = [
            blob.digest
            for blob in (manifest.config, *manifest.layers)
            if not store.blobs.has(blob.digest, size=blob.size)
            and not media.is_nondistributable(blob.media_type)
        ]
        if missing:
            raise IntegrityError(
                f"the archive lacks {missing[0]}, which {descriptor.digest} needs",
                hint="it was cut short, or isn't whole: save the image again",
            )
        is_here = True
    if not is_here:
        raise IntegrityError(f"the archive has no manifest of {image.root.digest}")
