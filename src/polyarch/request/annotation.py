"""An annotation that somebody asked for, and which documents it is meant for."""

from __future__ import annotations

from polyarch.platforms import Platform
from polyarch.record import frozen

__all__ = ["Annotation"]


@frozen
class Annotation:
    """An annotation of the documents of one level, for one platform; without it for all.

    `level` is index, index-descriptor, manifest or manifest-descriptor; "" is that of the manifest.
    """

    key: str
    value: str
    level: str = ""
    platform: Platform | None = None
