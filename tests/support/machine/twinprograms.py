"""Static programs of a few instructions, as the patches of twins meet them: with a note, and a build ID."""

from __future__ import annotations

import struct

__all__ = ["with_note"]

_BASE = 0x400000
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")


def with_note(code: bytes, *, build_id: bytes = b"", machine: int = 62, data: bytes = b"") -> bytes:
    """Return a program for x86-64 that runs `code`, with `data` behind it, and with a note of its build ID."""
    start = _HEADER.size + 2 * _SEGMENT.size
    note = struct.pack("<III", 4, len(build_id), 3) + b"GNU\0" + build_id
    at = start + len(note)
    ident = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
    header = _HEADER.pack(
        ident,
        2,
        machine,
        1,
        _BASE + at,
        _HEADER.size,
        0,
        0,
        _HEADER.size,
        _SEGMENT.size,
        2,
        0,
        0,
        0,
    )
    size = at + len(code) + len(data)
    load = _SEGMENT.pack(1, 5, 0, _BASE, _BASE, size, size, 0x1000)
    noted = _SEGMENT.pack(4, 4, start, _BASE + start, _BASE + start, len(note), len(note), 4)
    return header + load + noted + note + code + data
