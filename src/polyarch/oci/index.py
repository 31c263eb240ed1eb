"""Indexes: one image for several platforms. Source: OCI image-spec v1.1, image-index.md."""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.errors import IntegrityError, NotFound
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.fields import Fields, naming, read_document
from polyarch.oci.platform import NOWHERE
from polyarch.platforms import Platform, format_all, normalize, rank
from polyarch.record import frozen

__all__ = ["Index", "choose", "parse_index"]


@frozen
class Index:
    """The manifests of an image, in the order in which they are written."""

    manifests: tuple[Descriptor, ...]
    annotations: Mapping[str, str]


def parse_index(data: bytes) -> Index:
    """Read an index. Raises IntegrityError, naming the place."""
    with naming("index", data):
        return _parse(read_document(data))


def _parse(fields: Fields) -> Index:
    for foreign in ("config", "layers"):
        if foreign in fields:
            raise IntegrityError(f"the index has {foreign}, as only a manifest may")
    return Index(
        manifests=tuple(Descriptor.from_fields(each) for each in fields.objects("manifests")),
        annotations=fields.text_map("annotations"),
    )


def choose(index: Index, platform: Platform) -> Descriptor:
    """Return the manifest that serves `platform` best; the first of equals.

    Attestations, which are for the platform unknown/unknown, never do. Raises NotFound, which names
    the platforms that there are.
    """
    offered = [
        (each.platform, each)
        for each in index.manifests
        if each.platform is not None and each.platform.os != NOWHERE.os
    ]
    ranked = [
        (order, descriptor)
        for candidate, descriptor in offered
        if (order := rank(platform, candidate)) is not None
    ]
    if not ranked:
        names = dict.fromkeys(format_all(normalize(candidate)) for candidate, _ in offered)
        raise NotFound(
            f"no match for platform in manifest: {format_all(platform)} not found",
            hint=f"the image is for {', '.join(names)}" if names else "the image has no platforms",
        )
    return min(ranked, key=lambda pair: pair[0])[1]
