"""Descriptors: what names the bytes of an image. Source: OCI image-spec v1.1, descriptor.md."""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.digest import Digest, parse_digest
from polyarch.errors import IntegrityError, InvalidDigest
from polyarch.oci.fields import Fields
from polyarch.oci.platform import platform_json, read_platform
from polyarch.platforms import Platform
from polyarch.record import field, frozen

__all__ = ["DOCUMENT_LIMIT", "Descriptor", "check_document"]

DOCUMENT_LIMIT = 4 << 20
"""Bytes of a manifest, an index or a config, which are read as a whole; registries take no longer manifests.

Two things may be longer, and their readers have limits of their own: attestations, which list software, and
the index of a layout, to which every build adds.
"""


@frozen
class Descriptor:
    """A name of bytes: their digest, size in bytes and type; `data` is base64, if they are included.

    `platform` is only set in an index.
    """

    media_type: str
    digest: Digest
    size: int
    annotations: Mapping[str, str] = field(default_factory=dict)
    platform: Platform | None = None
    urls: tuple[str, ...] = ()
    artifact_type: str = ""
    data: str = ""

    def to_json(self) -> dict[str, object]:
        """Return the JSON object, keys in the order in which Go writes them."""
        optional: dict[str, object] = {
            "urls": list(self.urls),
            "annotations": dict(sorted(self.annotations.items())),
            "data": self.data,
            "platform": platform_json(self.platform) if self.platform else None,
            "artifactType": self.artifact_type,
        }
        required: dict[str, object] = {
            "mediaType": self.media_type,
            "digest": self.digest,
            "size": self.size,
        }
        return required | {key: value for key, value in optional.items() if value}

    @staticmethod
    def from_json(value: object, place: str = "") -> Descriptor:
        """Read the JSON object of a descriptor; `place` is where it stands in its document.

        Raises IntegrityError, InvalidDigest.
        """
        return Descriptor.from_fields(Fields(value, place))

    @staticmethod
    def from_fields(fields: Fields) -> Descriptor:
        """Read a descriptor out of its document. Raises IntegrityError, InvalidDigest."""
        text = fields.text("digest", required=True)
        try:
            digest = parse_digest(text)
        except InvalidDigest as error:
            raise InvalidDigest(f"{fields.place('digest')}: {error}", hint=error.hint) from error
        return Descriptor(
            media_type=fields.text("mediaType"),
            digest=digest,
            size=fields.number("size", required=True),
            annotations=fields.text_map("annotations"),
            platform=read_platform(fields.object("platform")) if "platform" in fields else None,
            urls=fields.texts("urls"),
            artifact_type=fields.text("artifactType"),
            data=fields.text("data"),
        )


def check_document(descriptor: Descriptor, limit: int = DOCUMENT_LIMIT) -> None:
    """Raise IntegrityError for a document of more than `limit` bytes, before anybody fetches it."""
    if descriptor.size > limit:
        raise IntegrityError(
            f"{descriptor.digest} is a document of {descriptor.size} bytes, and none may have more than "
            f"{limit}",
            hint="the image is damaged or hostile; don't use it",
        )
