"""The file in which glibc's loader looks up where a library is: names and paths -> bytes of ld.so.cache.

Source: the format `glibc-ld.so.cache1.1`, elf/cache.c and sysdeps/generic/dl-cache.h of glibc.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Mapping

__all__ = ["loader_cache"]

_MAGIC = b"glibc-ld.so.cache1.1"
_HEADER = struct.Struct("<20sIIB3xI12x")
_ENTRY = struct.Struct("<iIIIQ")
_LITTLE_ENDIAN = 2
_X86_64 = 0x0303
"""A library for glibc, of x86-64."""


def loader_cache(libraries: Mapping[str, str]) -> bytes:
    """Return a cache for x86-64 that knows libraries by their names."""
    ordered = sorted(libraries, key=_order, reverse=True)
    start = _HEADER.size + _ENTRY.size * len(ordered)
    entries, texts = b"", b""
    for name in ordered:
        places = []
        for text in (name, libraries[name]):
            places.append(start + len(texts))
            texts += text.encode() + b"\0"
        entries += _ENTRY.pack(_X86_64, *places, 0, 0)
    header = _HEADER.pack(_MAGIC, len(ordered), len(texts), _LITTLE_ENDIAN, 0)
    return header + entries + texts


def _order(name: str) -> list[tuple[int, int, str]]:
    """Return what the loader's search goes by: numbers as numbers, and those after everything else."""
    parts = re.findall(r"\d+|\D", name)
    return [(1, int(each), "") if each.isdigit() else (0, 0, each) for each in parts]
