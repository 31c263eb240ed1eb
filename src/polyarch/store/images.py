"""Which blobs an image reaches, read from the documents that are in the store.

Only what the collector needs is read: digests and media types in indexes and manifests. A document that
isn't here, or can't be read, reaches nothing; images may be there in part (one platform of many).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from polyarch.digest import Digest, parse_digest
from polyarch.errors import IntegrityError, InvalidDigest, NotFound
from polyarch.golang.json import read_json
from polyarch.store.blobs import Blobs

__all__ = ["documents", "layers_of", "reach"]


def reach(blobs: Blobs, descriptors: Iterable[str], *, layers: bool = True) -> set[Digest]:
    """Return the digests that the roots (OCI descriptors, as JSON) reach, themselves included.

    With `layers=False` only documents: indexes, manifests and configs.
    """
    reached: set[Digest] = set()
    for digest, document in _walk(blobs, descriptors):
        reached.add(digest)
        reached.update(_digests_of(_listed(document, "config")))
        if layers:
            reached.update(_digests_of(_listed(document, "layers")))
    return reached


def layers_of(blobs: Blobs, descriptors: Iterable[str]) -> set[str]:
    """Return the diff IDs of all layers of the images, as their configs tell."""
    found: set[str] = set()
    for _, manifest in _walk(blobs, descriptors):
        for digest in _digests_of(_listed(manifest, "config")):
            rootfs = (_document(blobs, digest) or {}).get("rootfs")
            if isinstance(rootfs, dict):
                found.update(map(str, _listed(rootfs, "diff_ids")))
    return found


def documents(blobs: Blobs, descriptor: str) -> Iterator[tuple[Digest, bool]]:
    """Give the documents of an image, and whether it is of no use without each.

    It is not without its root, and the configs of those manifests that are here.
    """
    for number, (digest, document) in enumerate(_walk(blobs, [descriptor])):
        yield digest, number == 0
        for config in _digests_of(_listed(document, "config")):
            yield config, True


def _walk(blobs: Blobs, descriptors: Iterable[str]) -> Iterator[tuple[Digest, dict[str, object]]]:
    """Give each index and manifest once, an empty document for what can't be read."""
    seen: set[Digest] = set()
    todo = [digest for text in descriptors for digest in _digests_of([json.loads(text)])]
    while todo:
        digest = todo.pop()
        if digest in seen:
            continue
        seen.add(digest)
        document = _document(blobs, digest) or {}
        yield digest, document
        # Manifests are documents to be followed; configs and layers are ends, and large perhaps.
        todo += _digests_of(_listed(document, "manifests"))


def _document(blobs: Blobs, digest: Digest) -> dict[str, object] | None:
    try:
        document = read_json(blobs.read(digest))
    except (NotFound, IntegrityError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def _listed(document: dict[str, object], key: str) -> list[object]:
    value = document.get(key)
    return value if isinstance(value, list) else [value]


def _digests_of(descriptors: Iterable[object]) -> Iterator[Digest]:
    for descriptor in descriptors:
        if isinstance(descriptor, dict) and isinstance(descriptor.get("digest"), str):
            try:
                yield parse_digest(descriptor["digest"])
            except InvalidDigest:
                continue
