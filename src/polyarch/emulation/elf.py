"""ELF files: header -> word size, byte order, machine, and whether a program is static.

Source: System V ABI, chapter 4, “Object Files” (ELF header, program header).
"""

from __future__ import annotations

import os
import struct
from typing import BinaryIO

from polyarch.errors import MachineError
from polyarch.record import frozen

__all__ = ["ELF_MAGIC", "ElfHeader", "build_elf", "read_elf", "read_elf_file"]

ELF_MAGIC = b"\x7fELF"

_HEADERS = {32: "HHIIIIIHHHHHH", 64: "HHIQQQIHHHHHH"}
"""The header behind `e_ident`, by word size; the byte order goes in front."""
_SEGMENTS = {32: "I8xI8x", 64: "4xQ16xQ16x"}
"""The offset and the size in a program header, behind its type."""
_LONGEST = 4096
"""A path's bytes, its end included."""
_PT_LOAD = 1
_PT_INTERP = 3
_BASE = 0x400000


@frozen
class ElfHeader:
    """What the header of an ELF file says. `type` is 2 for programs and 3 for movable ones."""

    bits: int
    little_endian: bool
    type: int
    machine: int
    flags: int
    interpreter: str = ""
    """The program interpreter (dynamic loader) that is named, "" for none."""

    @property
    def static(self) -> bool:
        """Whether no program interpreter is named."""
        return not self.interpreter


def read_elf(file: BinaryIO, name: str) -> ElfHeader:
    """Read the header of a seekable ELF file; `name` is what errors call it.

    Raises MachineError if it isn't one or is cut short.
    """
    ident = file.read(16)
    if len(ident) < 16 or ident[:4] != ELF_MAGIC:
        raise MachineError(f"{name} is not an ELF file")
    if ident[4] not in {1, 2} or ident[5] not in {1, 2}:
        raise MachineError(
            f"{name} is a damaged ELF file: class {ident[4]}, byte order {ident[5]} don't exist"
        )
    bits, order = 32 * ident[4], "<" if ident[5] == 1 else ">"
    layout = struct.Struct(order + _HEADERS[bits])
    data = file.read(layout.size)
    if len(data) < layout.size:
        raise MachineError(f"{name} is a damaged ELF file: its header is cut short")
    type_, machine, _, _, table, _, flags, _, entry_size, entries, *_ = layout.unpack(data)
    # The offset is whatever 64 bits were written there: more than files can have, and seek takes.
    if entries and table + (entries - 1) * entry_size + 4 > file.seek(0, os.SEEK_END):
        raise MachineError(f"{name} is a damaged ELF file: its program headers are cut short")
    interpreter = ""
    for number in range(entries):
        file.seek(table + number * entry_size)
        if struct.unpack(order + "I", file.read(4))[0] == _PT_INTERP:
            interpreter = _interpreter(file, struct.Struct(order + _SEGMENTS[bits]), name)
    return ElfHeader(
        bits=bits,
        little_endian=order == "<",
        type=type_,
        machine=machine,
        flags=flags,
        interpreter=interpreter,
    )


def _interpreter(file: BinaryIO, layout: struct.Struct, name: str) -> str:
    """Read the path that the segment names of which the type was read just now."""
    data = file.read(layout.size)
    offset, size = layout.unpack(data) if len(data) == layout.size else (0, 0)
    path = b""
    if 1 < size <= _LONGEST and offset + size <= file.seek(0, os.SEEK_END):
        file.seek(offset)
        path = file.read(size).partition(b"\0")[0]
    if not path:
        raise MachineError(f"{name} is a damaged ELF file: its program interpreter has no name")
    return os.fsdecode(path)


def read_elf_file(path: str) -> ElfHeader:
    """Read the header of the ELF file at `path`; raises MachineError, also if it can't be read."""
    try:
        with open(path, "rb") as file:
            return read_elf(file, path)
    except OSError as error:
        raise MachineError(f"{path} can't be read: {error.strerror}") from error


def build_elf(code: bytes, *, bits: int, little_endian: bool, machine: int, flags: int) -> bytes:
    """Make the smallest static program that runs `code`: a header, one segment, the code."""
    order = "<" if little_endian else ">"
    size, segment_size = (64, 56) if bits == 64 else (52, 32)
    start = size + segment_size
    ident = ELF_MAGIC + bytes((bits // 32, 1 if little_endian else 2, 1)) + bytes(9)
    header = struct.pack(
        order + _HEADERS[bits],
        *(2, machine, 1, _BASE + start, size, 0, flags, size, segment_size, 1, 0, 0, 0),
    )
    whole, access, align = start + len(code), 5, 0x10000
    segment = (
        struct.pack(order + "IIQQQQQQ", _PT_LOAD, access, 0, _BASE, _BASE, whole, whole, align)
        if bits == 64
        else struct.pack(order + "8I", _PT_LOAD, 0, _BASE, _BASE, whole, whole, access, align)
    )
    return ident + header + segment + code
