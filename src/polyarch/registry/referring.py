"""How a list of what is about a manifest is kept in registries that don't keep one themselves."""

from __future__ import annotations

from polyarch.digest import Digest
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.fields import read_document

__all__ = ["listed", "referrers_tag"]


def listed(referrer: Descriptor, data: bytes) -> Descriptor:
    """Return how a list of referrers has a manifest."""
    fields = read_document(data)
    kind = fields.object("config").text("mediaType") if "config" in fields else ""
    return Descriptor(
        media_type=referrer.media_type,
        digest=referrer.digest,
        size=referrer.size,
        artifact_type=fields.text("artifactType") or kind,
        annotations=fields.text_map("annotations"),
    )


def referrers_tag(subject: Digest) -> str:
    """Return the tag of the index of a manifest's referrers. Source: distribution spec v1.1."""
    algorithm, _, encoded = subject.partition(":")
    return f"{algorithm[:32]}-{encoded[:64]}"
