"""Named contexts: what the command line puts in the place of a stage, an image or a `from`."""

from __future__ import annotations

from collections.abc import Container

from polyarch.errors import InputError
from polyarch.graph.vertex import Vertex
from polyarch.oci.base import IMAGE_SCHEME, LAYOUT_SCHEME
from polyarch.oci.config import ImageConfig
from polyarch.oci.reference import parse as parse_reference
from polyarch.platforms import Platform, format_all
from polyarch.record import frozen

__all__ = ["SCRATCH", "TARGET_SCHEME", "Linked", "NamedContext", "context_name"]

SCRATCH = "scratch"
TARGET_SCHEME = "target:"
_PLATFORM_MARK = "::"


@frozen
class NamedContext:
    """What the command line puts in the place of a stage or an image.

    `key` is what it is called there, with the platform if it is for one only; `value` is what it is.
    """

    key: str
    value: str

    @property
    def image(self) -> str:
        """The image that it is: a reference, or the address of a layout; "" for files."""
        if self.value.startswith(LAYOUT_SCHEME):
            return self.value
        return self.value.removeprefix(IMAGE_SCHEME) if self._is_image else ""

    @property
    def is_target(self) -> bool:
        """Whether it is the result of another build, that of a target of a bake file."""
        return self.value.startswith(TARGET_SCHEME)

    @property
    def is_empty(self) -> bool:
        """Whether it is the empty image."""
        return self._is_image and self.image == SCRATCH

    @property
    def _is_image(self) -> bool:
        return self.value.startswith(IMAGE_SCHEME)


@frozen
class Linked:
    """What another build that is solved with this one makes for a platform: its files, and its image's config."""

    vertex: Vertex
    config: ImageConfig


def context_name(name: str, platform: Platform, known: Container[str]) -> str | None:
    """Return which of the known named contexts a name means on a platform: one for it goes first."""
    familiar = _familiar(name)
    keys = (f"{familiar}{_PLATFORM_MARK}{format_all(platform)}", familiar)
    return next((key for key in keys if key in known), None)


def _familiar(name: str) -> str:
    """Write an image's name as named contexts are called; what is no reference stays as it is."""
    try:
        reference = parse_reference(name)
    except InputError:
        return name
    return reference.familiar.removesuffix(":latest")
