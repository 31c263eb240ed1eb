"""The image config of a target: what it takes from its base, and which platform it gets.

A config of another builder may hold more than is known here: fields of containers, what it was built of,
the cache that it carries. None of that is true of an image that is made from it, so it isn't handed on;
neither does BuildKit, which reads and writes a config by its types.

Source: BuildKit's `dockerfile2llb`.
"""

from __future__ import annotations

from polyarch.oci.config import ImageConfig
from polyarch.platforms import Platform, normalize
from polyarch.record import replace

__all__ = ["inherited", "target_platform"]


def inherited(base: ImageConfig) -> ImageConfig:
    """Return what an image takes from the config of its base: all but its layers and what tells of them."""
    return ImageConfig(platform=base.platform, run=replace(base.run, rest={}), author=base.author)


def target_platform(own: Platform, target: Platform | None) -> Platform:
    """Return the platform of a config, normalized: the one that was asked for; with None its own.

    What the target leaves open (a variant, a version) stays if system and architecture are those of
    the base: an image for `linux/amd64` that is made from one for `amd64/v2` needs v2.
    """
    if target is None:
        return normalize(own)
    is_same = (own.os, own.architecture) == (target.os, target.architecture)
    return normalize(
        replace(
            target,
            variant=target.variant or (own.variant if is_same else ""),
            os_version=target.os_version or (own.os_version if is_same else ""),
            os_features=target.os_features or own.os_features,
        )
    )
