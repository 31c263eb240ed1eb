"""What `imagetools create` is made of: references, descriptors, folders, read from the command line.

alpine:3.20                     a name at a registry
sha256:...                      a digest, in the only repository that is named
{"digest": "sha256:...", ...}   a descriptor; what it says wins over what the registry says
oci-layout://FOLDER[:tag|@digest]
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from polyarch.digest import Digest, hex_of, parse_digest
from polyarch.errors import InputError, IntegrityError, InvalidDigest, NotFound
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.fields import Fields, read_document
from polyarch.oci.index import parse_index
from polyarch.oci.reference import Reference
from polyarch.oci.reference import parse as parse_reference
from polyarch.platforms import Platform
from polyarch.text.gofmt import quoted

__all__ = [
    "LAYOUT",
    "LayoutPlace",
    "Source",
    "layout_blob",
    "parse_layout",
    "parse_sources",
    "read_layout",
]

LAYOUT = "oci-layout://"
_REF_NAME = "org.opencontainers.image.ref.name"


@dataclass(frozen=True, slots=True, kw_only=True)
class LayoutPlace:
    """An image in a folder: `tag` or `digest`, or neither if there is only one."""

    folder: Path
    tag: str = ""
    digest: Digest | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """One source: at a registry, or in a folder; and what the user says of it."""

    reference: Reference | None = None
    layout: LayoutPlace | None = None
    platform: Platform | None = None
    annotations: tuple[tuple[str, str], ...] = ()


def parse_layout(text: str) -> LayoutPlace:
    """Read `FOLDER[:tag|@digest]`, with or without the prefix."""
    rest = text.removeprefix(LAYOUT)
    path, at, digest = rest.partition("@")
    if at:
        return LayoutPlace(folder=Path(path), digest=parse_digest(digest))
    head, colon, tag = rest.rpartition(":")
    if colon and "/" not in tag:
        return LayoutPlace(folder=Path(head), tag=tag)
    return LayoutPlace(folder=Path(rest))


def parse_sources(texts: Iterable[str], tags: Sequence[Reference]) -> tuple[Source, ...]:
    """Read the sources; digests are completed by the only repository. Raises InputError."""
    sources = [_parse(text) for text in texts]
    named = {each.repository for each in tags}
    references = (each.reference for each in sources if each.reference is not None)
    named |= {each.repository for each in references if each.path}
    return tuple(_completed(source, named) for source in sources)


def _parse(text: str) -> Source:
    text = text.strip()
    if text.startswith(LAYOUT):
        return Source(layout=parse_layout(text))
    if text.startswith("{"):
        return _from_json(text)
    try:
        return Source(reference=Reference(domain="", path="", digest=parse_digest(text)))
    except InvalidDigest:
        return Source(reference=parse_reference(text))


def _from_json(text: str) -> Source:
    try:
        # A size may be left out here, as the registry knows it.
        descriptor = Descriptor.from_fields(Fields({"size": 0, **json.loads(text)}))
    except (InvalidDigest, IntegrityError, ValueError, TypeError) as error:
        raise InputError(f"{text} is no descriptor: {error}") from error
    return Source(
        reference=Reference(domain="", path="", digest=descriptor.digest),
        platform=descriptor.platform,
        annotations=tuple(sorted(descriptor.annotations.items())),
    )


def _completed(source: Source, repositories: Iterable[str]) -> Source:
    reference = source.reference
    if reference is None or reference.path:
        return source
    names = sorted(repositories)
    if not names:
        raise InputError("no repositories specified, please set a reference in tag or source")
    if len(names) > 1:
        raise InputError(
            "multiple repositories specified, cannot infer repository for "
            f"{quoted(reference.digest or '')}"
        )
    return replace(source, reference=replace(parse_reference(names[0]), digest=reference.digest))


def read_layout(place: LayoutPlace) -> Descriptor:
    """Return the descriptor of an image in a folder. Raises NotFound, IntegrityError."""
    try:
        index = parse_index((place.folder / "index.json").read_bytes())
    except OSError as error:
        raise NotFound(
            f"{place.folder} is no OCI image layout: {error.strerror}",
            hint="it would have an index.json",
        ) from error
    if place.digest is not None:
        found = [each for each in index.manifests if each.digest == place.digest]
        if found:
            return found[0]
        data = layout_blob(place.folder, place.digest).read_bytes()
        media_type = read_document(data).text("mediaType")
        return Descriptor(media_type=media_type, digest=place.digest, size=len(data))
    found = [
        each
        for each in index.manifests
        if not place.tag or each.annotations.get(_REF_NAME) == place.tag
    ]
    if len({each.digest for each in found}) != 1:
        what = f"the tag {place.tag}" if place.tag else "a single image"
        raise NotFound(f"{place.folder} doesn't have {what}")
    return found[0]


def layout_blob(folder: Path, digest: Digest) -> Path:
    """Return where a folder has a blob. Raises NotFound."""
    path = folder / "blobs" / digest.partition(":")[0] / hex_of(digest)
    if not path.is_file():
        raise NotFound(f"{folder} doesn't have the blob {digest}")
    return path
