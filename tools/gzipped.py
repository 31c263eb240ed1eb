"""gzip whose bytes are those of every Python: `gzip.compress` of 3.13 and later names no operating system."""

from __future__ import annotations

import zlib

__all__ = ["gzipped"]

_WITH_HEADER = 31


def gzipped(data: bytes, level: int = 9) -> bytes:
    """Return data compressed, with no time in the header."""
    return zlib.compress(data, level, _WITH_HEADER)
