"""Platforms as the documents of images have them. Source: OCI image-spec v1.1, image-index.md and config.md."""

from __future__ import annotations

from polyarch.oci.fields import Fields
from polyarch.platforms import Platform

__all__ = ["NOWHERE", "platform_json", "read_platform"]

NOWHERE = Platform(os="unknown", architecture="unknown")
"""What indexes say of what is about an image and runs on no machine: attestations."""


def read_platform(fields: Fields) -> Platform:
    """Read the platform out of an object that says it, as it is written. Raises IntegrityError."""
    return Platform(
        os=fields.text("os"),
        architecture=fields.text("architecture"),
        variant=fields.text("variant"),
        os_version=fields.text("os.version"),
        os_features=fields.texts("os.features"),
    )


def platform_json(platform: Platform) -> dict[str, object]:
    """Return the keys that say a platform, in the order in which Go writes them."""
    optional: dict[str, object] = {
        "os.version": platform.os_version,
        "os.features": list(platform.os_features),
        "variant": platform.variant,
    }
    required: dict[str, object] = {"architecture": platform.architecture, "os": platform.os}
    return required | {key: value for key, value in optional.items() if value}
