"""JSON documents of images with their descriptors."""

from __future__ import annotations

from polyarch.digest import sha256
from polyarch.oci.descriptor import Descriptor
from polyarch.platforms import Platform
from polyarch.record import frozen

__all__ = ["Document", "document"]


@frozen
class Document:
    """A JSON document and its descriptor."""

    descriptor: Descriptor
    data: bytes


def document(media_type: str, data: bytes, platform: Platform | None = None) -> Document:
    """Return a document with its descriptor."""
    descriptor = Descriptor(
        media_type=media_type, digest=sha256(data), size=len(data), platform=platform
    )
    return Document(descriptor=descriptor, data=data)
