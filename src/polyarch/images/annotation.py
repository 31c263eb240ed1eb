"""An annotation that somebody asked for, and which documents it is meant for."""

from __future__ import annotations

from polyarch.record import frozen

__all__ = ["Annotation"]


@frozen
class Annotation:
    """An annotation; `type` is that of docker buildx's `--annotation`, "" for manifest; `platform` None means all."""

    type: str
    platform: str | None
    key: str
    value: str
