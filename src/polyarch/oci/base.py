"""What a build needs to know of an image that it starts from."""

from __future__ import annotations

from dataclasses import dataclass

from polyarch.digest import DiffID, Digest

__all__ = ["BaseImage"]


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseImage:
    """An image that a stage starts from: pinned, with its config as a JSON object.

    `reference` is its canonical name, with a tag; `digest` that of the manifest for the platform.
    """

    reference: str
    digest: Digest
    diff_ids: tuple[DiffID, ...]
    config: dict[str, object]
