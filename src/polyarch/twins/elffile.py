"""ELF programs and libraries of any CPU: bytes -> their segments, notes, and the libraries that they need.

Source: System V ABI, chapters 4 and 5; the GNU build ID as binutils writes it.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from polyarch.emulation.elf import ELF_MAGIC
from polyarch.emulation.extended import PT_DYNAMIC, PT_INTERP, PT_LOAD
from polyarch.errors import MachineError
from polyarch.record import frozen

__all__ = ["ElfFile", "Segment"]

_PT_NOTE = 4
_NOTES = ((b"GNU\0", 3), (b"Go\0\0", 4))
"""Who writes a build ID in a note, and of which type that is."""
_DT_NEEDED, _DT_STRTAB, _DT_STRSZ, _DT_SONAME = 1, 5, 10, 14
_DT_PLTRELSZ, _DT_SYMTAB, _DT_JMPREL = 2, 6, 23
_DT_RELA, _DT_RELASZ = 7, 8
_OF_SYMBOLS = (1, 6, 7)
"""R_X86_64_64, R_X86_64_GLOB_DAT, R_X86_64_JUMP_SLOT: what is put there is the address of something with a name."""
_RELOCATION = struct.Struct("<QQq")
_SYMBOL_SIZE, _SYMBOL_VALUE = 24, 8
_SYMBOL = struct.Struct("<IxxHQ")
_LARGEST_NOTES = 1 << 16


@frozen
class Segment:
    """A part of a file that lies at an address in memory; `size` is that in the file, in bytes."""

    kind: int
    offset: int
    address: int
    size: int


class ElfFile:
    """The bytes of an ELF file, read with the word size and byte order that it says it has."""

    def __init__(self, data: bytes, name: str) -> None:
        """Read the headers; `name` is what errors call it. Raises MachineError if they make no sense."""
        self.data = data
        self.name = name
        if data[:4] != ELF_MAGIC or data[4:5] not in {b"\1", b"\2"} or data[5:6] not in b"\1\2":
            raise MachineError(f"{name} is not an ELF file")
        self.bits = 32 * data[4]
        self._order = "<" if data[5] == 1 else ">"
        try:
            self.type, self.machine = struct.unpack_from(f"{self._order}HH", data, 16)
            self.segments = tuple(self._read_segments())
        except struct.error as error:
            raise MachineError(
                f"{name} is a damaged ELF file: its headers are cut short"
            ) from error

    @property
    def is_little_endian(self) -> bool:
        """Whether numbers in it begin with their lowest byte."""
        return self._order == "<"

    def _read_segments(self) -> Iterator[Segment]:
        is_long = self.bits == 64
        (table,) = struct.unpack_from(self._order + "IQ"[is_long], self.data, 32 if is_long else 28)
        size, count = struct.unpack_from(f"{self._order}HH", self.data, 54 if is_long else 42)
        for number in range(count):
            at = table + number * size
            if is_long:
                kind, _, offset, address, _, length = struct.unpack_from(
                    f"{self._order}IIQQQQ", self.data, at
                )
            else:
                kind, offset, address, _, length = struct.unpack_from(
                    f"{self._order}5I", self.data, at
                )
            yield Segment(kind=kind, offset=offset, address=address, size=length)

    def of_kind(self, kind: int) -> list[Segment]:
        """Return the segments of a kind, in their order."""
        return [each for each in self.segments if each.kind == kind]

    @property
    def interpreter(self) -> str:
        """The path of the loader; "" for a static program and for a library."""
        for each in self.of_kind(PT_INTERP):
            text = self.data[each.offset : each.offset + each.size]
            return text.rstrip(b"\0").decode(errors="replace")
        return ""

    @property
    def needed(self) -> tuple[str, ...]:
        """The names of the libraries that it is linked to, in their order."""
        return tuple(self._text(value) for tag, value in self._dynamic() if tag == _DT_NEEDED)

    @property
    def soname(self) -> str:
        """The name by which others are linked to it; "" if it has none."""
        return next((self._text(value) for tag, value in self._dynamic() if tag == _DT_SONAME), "")

    @property
    def names(self) -> tuple[int, int]:
        """Where in the file the texts of the dynamic section lie: from, to; (0, 0) without one."""
        known = dict(self._dynamic())
        if _DT_STRTAB not in known:
            return 0, 0
        start = self._offset(known[_DT_STRTAB])
        return start, start + known.get(_DT_STRSZ, 0)

    def import_slot(self, name: str) -> int:
        """Return where in memory the address of a function of another library is put, for x86-64.

        Raises MachineError if the program imports no such function by its table of procedures.
        """
        slots = self.import_slots
        if name not in slots:
            raise MachineError(f"{self.name} doesn't import {name}")
        return slots[name]

    @property
    def import_slots(self) -> dict[str, int]:
        """Where in memory the addresses of functions of other libraries are put, by their names, for x86-64.

        Raises MachineError if the program has no table of procedures.
        """
        known = dict(self._dynamic())
        if not {_DT_JMPREL, _DT_PLTRELSZ, _DT_SYMTAB} <= known.keys():
            raise MachineError(f"{self.name} imports no functions")
        symbols, slots = self._offset(known[_DT_SYMTAB]), {}
        for table, size in ((_DT_RELA, _DT_RELASZ), (_DT_JMPREL, _DT_PLTRELSZ)):
            if not known.get(size):
                continue
            start = self._offset(known[table])
            for at in range(start, start + known[size], _RELOCATION.size):
                slot, info, _ = _RELOCATION.unpack_from(self.data, at)
                if info & 0xFFFFFFFF in _OF_SYMBOLS:
                    place = symbols + (info >> 32) * _SYMBOL_SIZE
                    (text,) = struct.unpack_from("<I", self.data, place)
                    slots[self._text(text)] = int(slot)
        return slots

    def exported(self, name: str) -> tuple[int, int]:
        """Return the address of a function for others, for x86-64, and where in the file it's written down.

        Raises MachineError if there is no such function.
        """
        known = dict(self._dynamic())
        if not {_DT_STRTAB, _DT_SYMTAB} <= known.keys():
            raise MachineError(f"{self.name} exports no functions")
        # Linkers put the names behind the symbols.
        for at in range(self._offset(known[_DT_SYMTAB]), self.names[0], _SYMBOL_SIZE):
            text, section, address = _SYMBOL.unpack_from(self.data, at)
            if section and self._text(text) == name:
                return address, at + _SYMBOL_VALUE
        raise MachineError(f"{self.name} doesn't export {name}")

    def _dynamic(self) -> list[tuple[int, int]]:
        entry = struct.Struct(self._order + ("qQ" if self.bits == 64 else "iI"))
        found = []
        for each in self.of_kind(PT_DYNAMIC):
            part = self.data[each.offset : each.offset + each.size]
            for tag, value in entry.iter_unpack(part[: len(part) // entry.size * entry.size]):
                if tag == 0:
                    break
                found.append((tag, value))
        return found

    def _text(self, at: int) -> str:
        start, end = self.names
        text, _, _ = self.data[start + at : end].partition(b"\0")
        return text.decode(errors="replace")

    def _offset(self, address: int) -> int:
        for each in self.of_kind(PT_LOAD):
            if each.address <= address < each.address + each.size:
                return each.offset + address - each.address
        raise MachineError(f"{self.name} is a damaged ELF file: nothing lies at {address:#x}")

    @property
    def build_id(self) -> tuple[int, bytes]:
        """The build ID and where in the file it is; (0, b"") if there is none."""
        for each in self.of_kind(_PT_NOTE):
            if each.size > _LARGEST_NOTES:
                continue
            notes = self.data[each.offset : each.offset + each.size]
            for name, kind in _NOTES:
                if found := self._note(notes, name, kind):
                    at, content = found
                    return each.offset + at, content
        return 0, b""

    def _note(self, notes: bytes, name: bytes, kind: int) -> tuple[int, bytes] | None:
        """Return where in the notes the content of one is, and it; of Go's, what identifies the program itself."""
        # A note: sizes of name and content, type, the name, the content.
        head = re.escape(struct.pack(f"{self._order}I", len(name)))
        rest = re.escape(struct.pack(f"{self._order}I", kind) + name)
        found = re.search(head + b"(.{4})" + rest, notes, re.DOTALL)
        if not found:
            return None
        (size,) = struct.unpack(f"{self._order}I", found[1])
        content = notes[found.end() : found.end() + size]
        # Go's ID has parts: of what the program was made of, then of the program.
        skipped = content.rfind(b"/") + 1 if name.startswith(b"Go") else 0
        return found.end() + skipped, content[skipped:]
