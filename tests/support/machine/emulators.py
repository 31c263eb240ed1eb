"""Stand-ins for QEMU: tiny static programs of this machine that print a text and end."""

from __future__ import annotations

import struct
from pathlib import Path

from polyarch.emulation.elf import build_elf
from polyarch.emulation.probe import native_architecture

__all__ = ["fake_program", "fake_qemu"]


def _amd64(text: bytes, status: int) -> bytes:
    """Write the text to standard output and exit."""
    write = bytes.fromhex("b801000000 bf01000000 488d3510000000 ba") + struct.pack("<I", len(text))
    leave = bytes.fromhex("0f05 b83c000000 6a") + bytes((status, 0x5F)) + bytes.fromhex("0f05")
    code = write + leave
    # The text's place is told relative to the end of the instruction at 10 that is 7 long.
    return code[:13] + struct.pack("<I", len(code) - 17) + code[17:] + text


def _arm64(text: bytes, status: int) -> bytes:
    words = (
        *(0xD2800808, 0xD2800020, 0x100000C1, 0xD2800002 | len(text) << 5, 0xD4000001),
        *(0xD2800BA8, 0xD2800000 | status << 5, 0xD4000001),
    )
    return struct.pack("<8I", *words) + text


_MACHINES = {"amd64": (62, _amd64), "arm64": (183, _arm64)}


def fake_program(text: bytes, *, status: int = 0, architecture: str = "") -> bytes:
    """Return a static program that prints `text`, whatever its arguments, and ends with `status`."""
    machine, assemble = _MACHINES[architecture or native_architecture()]
    code = assemble(text, status)
    return build_elf(code, bits=64, little_endian=True, machine=machine, flags=0)


def fake_qemu(path: Path, version: str = "9.1.0", *, status: int = 0) -> Path:
    """Put a program at `path` that says that it is this version of QEMU."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = f"qemu-any version {version} (tests)\n" if version else "no version\n"
    path.write_bytes(fake_program(text.encode(), status=status))
    path.chmod(0o755)
    return path
