"""Sections of ELF programs by name, read as parts of the file. Source: System V ABI, chapter 4."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from typing import BinaryIO

from polyarch.record import frozen

__all__ = ["Sections", "read_sections"]

_MAGIC = b"\x7fELF"
_MOST = 4096
_NAMES = 1 << 20


@frozen
class Sections:
    """Where the sections of a program lie in its file, by name: offset and size."""

    file: BinaryIO
    places: dict[str, tuple[int, int]]

    def read(self, name: str, limit: int) -> bytes:
        """Return a section, nothing if there is none; of one that is larger, the first `limit` bytes."""
        offset, size = self.places.get(name, (0, 0))
        return _at(self.file, offset, min(size, limit)) if size else b""


def read_sections(file: BinaryIO) -> Sections | None:
    """Return the sections of a program, None for anything else."""
    head = _at(file, 0, 64)
    if head[:4] != _MAGIC or len(head) < 52:
        return None
    is_wide, order = head[4] == 2, "<" if head[5] == 1 else ">"
    try:
        table = struct.unpack_from(
            f"{order}Q" if is_wide else f"{order}I", head, 40 if is_wide else 32
        )
        size, count, index = struct.unpack_from(f"{order}HHH", head, 58 if is_wide else 46)
    except struct.error:
        return None
    form = struct.Struct(f"{order}IIQQQQ" if is_wide else f"{order}IIIIII")
    if count > _MOST or size < form.size:
        return None
    data = _at(file, table[0], size * count)
    rows = [form.unpack_from(data, at) for at in range(0, len(data) - form.size + 1, size)]
    if index >= len(rows):
        return None
    names = _at(file, rows[index][4], min(rows[index][5], _NAMES))
    return Sections(file=file, places=dict(_places(rows, names)))


def _places(rows: Iterable[tuple[int, ...]], names: bytes) -> Iterator[tuple[str, tuple[int, int]]]:
    """Yield the sections: name, then offset and length."""
    for name, _kind, _flags, _address, offset, length in rows:
        text = names[name : names.find(b"\0", name)] if name < len(names) else b""
        yield text.decode("ascii", "replace"), (offset, length)


def _at(file: BinaryIO, offset: int, size: int) -> bytes:
    try:
        file.seek(offset)
        return file.read(size) or b""
    except (OSError, ValueError, OverflowError):
        return b""
