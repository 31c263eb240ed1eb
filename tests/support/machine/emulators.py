"""Stand-ins for QEMU: tiny static programs of this machine that print a text and end."""

from __future__ import annotations

import struct
from pathlib import Path

from polyarch.emulation.elf import build_elf
from polyarch.emulation.probe import native_architecture

__all__ = [
    "CRASHES",
    "CRASHES_WITH_POINTER_AUTHENTICATION",
    "HANGS",
    "HANGS_WITH_POINTER_AUTHENTICATION",
    "arm64_program",
    "fake_program",
    "fake_qemu",
    "printing",
    "with_loader",
]


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
    machine, code = printing(text, status=status, architecture=architecture)
    return build_elf(code, bits=64, little_endian=True, machine=machine, flags=0)


def printing(text: bytes, *, status: int = 0, architecture: str = "") -> tuple[int, bytes]:
    """Return the machine of an architecture, and code for it that prints `text` and ends with `status`."""
    machine, assemble = _MACHINES[architecture or native_architecture()]
    return machine, assemble(text, status)


def fake_qemu(path: Path, version: str = "9.1.0", *, status: int = 0) -> Path:
    """Put a program at `path` that says that it is this version of QEMU."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = f"qemu-any version {version} (tests)\n" if version else "no version\n"
    path.write_bytes(fake_program(text.encode(), status=status))
    path.chmod(0o755)
    return path


def with_loader(architecture: str, loader: str) -> bytes:
    """Return a little-endian 64-bit program for a machine whose dynamic loader is at `loader`."""
    machine = {"amd64": 62, "arm64": 183}[architecture]
    path = loader.encode() + b"\0"
    plain = build_elf(path, bits=64, little_endian=True, machine=machine, flags=0)
    header, (segment, code) = bytearray(plain[:64]), (plain[64:120], plain[120:])
    struct.pack_into("<H", header, 56, 2)
    load = bytearray(segment)
    size = 64 + 2 * 56 + len(code)
    struct.pack_into("<QQ", load, 32, size, size)
    named = struct.pack("<IIQQQQQQ", 3, 4, 176, 0x4000B0, 0x4000B0, len(path), len(path), 1)
    return bytes(header) + bytes(load) + named + code


def arm64_program(*words: int) -> bytes:
    """Return a static program for arm64 of these instructions."""
    code = struct.pack(f"<{len(words)}I", *words)
    return build_elf(code, bits=64, little_endian=True, machine=183, flags=0)


_EXIT_0 = (0xD2800000, 0xD2800BA8, 0xD4000001)

# mrs x0, id_aa64isar1_el1; ubfx x0, x0, #4, #8; cbz x0, exit; mov x1, #0; ldr x0, [x1]
CRASHES_WITH_POINTER_AUTHENTICATION = arm64_program(
    0xD5380620, 0xD3442C00, 0xB4000060, 0xD2800001, 0xF9400020, *_EXIT_0
)
"""Ends well on CPUs without pointer authentication, and reads at address 0 on others."""

# mov x1, #0; ldr x0, [x1]
CRASHES = arm64_program(0xD2800001, 0xF9400020)

# adr x0, .; ldr w2, [x0]; mov x1, #0; mov x3, #0; mov x8, #98 (futex: wait); svc #0
HANGS = arm64_program(0x10000000, 0xB9400002, 0xD2800001, 0xD2800003, 0xD2800C48, 0xD4000001)
"""Waits for what nobody does."""

# as HANGS, on CPUs with pointer authentication only
HANGS_WITH_POINTER_AUTHENTICATION = arm64_program(
    *(0xD5380620, 0xD3442C00, 0xB40000E0),
    *(0x10000000, 0xB9400002, 0xD2800001, 0xD2800003, 0xD2800C48, 0xD4000001),
    *_EXIT_0,
)
