"""The kinds of compression. Apart from what does it, which takes longer to import."""

from __future__ import annotations

from enum import StrEnum

from polyarch.errors import InputError

__all__ = ["TOC_DIGEST", "UNCOMPRESSED_SIZE", "Compression", "check_level"]

TOC_DIGEST = "containerd.io/snapshot/stargz/toc.digest"
UNCOMPRESSED_SIZE = "io.containers.estargz.uncompressed-size"
"""Annotations of a layer's descriptor, by which it is known to be eStargz."""


class Compression(StrEnum):
    """How a layer's blob is compressed, spelled as exporters' attributes spell it."""

    UNCOMPRESSED = "uncompressed"
    GZIP = "gzip"
    ESTARGZ = "estargz"
    """gzip that single files can be read from; only written, as it is read as gzip."""
    ZSTD = "zstd"
    BZIP2 = "bzip2"
    """Only read."""
    XZ = "xz"
    """Only read."""


_HIGHEST = {Compression.GZIP: 9, Compression.ESTARGZ: 9, Compression.ZSTD: 22}


def check_level(compression: Compression, level: int | None) -> None:
    """Raise InputError for a kind that isn't written, or a level that it doesn't have; None is the default one."""
    if compression is Compression.UNCOMPRESSED:
        return
    most = _HIGHEST.get(compression)
    if most is None:
        raise InputError(
            f"layers can't be written as {compression}",
            hint="use gzip, estargz, zstd or uncompressed",
        )
    if level is not None and not 0 <= level <= most:
        raise InputError(
            f"compression level {level} is out of range for {compression}",
            hint=f"use a number from 0 to {most}",
        )
