"""Static programs of a few instructions, as the patches of twins meet them: with a note, and a build ID."""

from __future__ import annotations

import struct
from pathlib import Path

from tests.support.machine.emulators import printing

__all__ = ["make_toolchain", "with_note"]

_BASE = 0x400000
_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")


def make_toolchain(place: Path, architecture: str, version: str = "go1.99.1") -> None:
    """Put a toolchain of Go to `place` whose compilers print the version and the architecture that they run on."""
    tools = place / f"pkg/tool/linux_{architecture}"
    for path in (tools / "compile", tools / "asm", place / "bin/gofmt"):
        path.parent.mkdir(parents=True, exist_ok=True)
        text = f"{path.name} {version} runs on {architecture}\n".encode()
        machine, code = printing(text, architecture=architecture)
        identity = f"of what it is made/{architecture}".encode()
        path.write_bytes(with_note(code, build_id=identity, machine=machine, is_go=True))
        path.chmod(0o755)
    (place / "VERSION").write_text(version)


def with_note(
    code: bytes,
    *,
    build_id: bytes = b"",
    machine: int = 62,
    data: bytes = b"",
    is_go: bool = False,
) -> bytes:
    """Return a program for x86-64 that runs `code`, with `data` behind it, and with a note of its build ID."""
    start = _HEADER.size + 2 * _SEGMENT.size
    name, kind = (b"Go\0\0", 4) if is_go else (b"GNU\0", 3)
    note = struct.pack("<III", 4, len(build_id), kind) + name + build_id
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
