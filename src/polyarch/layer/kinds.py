"""The kinds of compression. Apart from what does it, which takes longer to import."""

from __future__ import annotations

from enum import StrEnum

__all__ = ["Compression"]


class Compression(StrEnum):
    """How a layer's blob is compressed, spelled as exporters' attributes spell it."""

    UNCOMPRESSED = "uncompressed"
    GZIP = "gzip"
    ZSTD = "zstd"
    BZIP2 = "bzip2"
    """Only read."""
    XZ = "xz"
    """Only read."""
