"""An ELF program for x86-64 with a segment more: code and constants of ours, which bytes of it may go to.

The table of segments has no room for another one, so that takes the entry of a segment that nobody reads at run
time: a note, or else what unwinding or checks of control flow would look at. It lies behind all others in
the file and in memory, may be read and executed, and is as long as what was added.

Source: System V ABI, chapter 5, “Program Header”; AMD64 supplement.
"""

from __future__ import annotations

import struct

from polyarch.errors import MachineError

__all__ = ["PT_DYNAMIC", "PT_INTERP", "PT_LOAD", "Extended"]

PT_LOAD, PT_DYNAMIC, PT_INTERP = 1, 2, 3
_SPARE = (4, 0x6474E553, 0x6474E550)
"""PT_NOTE, PT_GNU_PROPERTY, PT_GNU_EH_FRAME: the entries that can be done without, best first."""

_PAGE = 0x1000
_X86_64 = 62
_TYPE, _ET_EXEC = 16, 2
_ENTRY, _HEADERS, _COUNT = 24, 32, 56
"""Where the ELF header says where the program begins, where the program headers are, how many."""
_SEGMENT = struct.Struct("<IIQQQQQQ")
_READ_EXECUTE = 5
_LONGEST = 1 << 20
"""No addition is larger, in bytes."""


class Extended:
    """A program that is being changed. `entry` is the address of its first instruction, to be read and set."""

    def __init__(self, program: bytes) -> None:
        """Begin with the bytes of a file. Raises MachineError for one that can't have another segment."""
        if program[:6] != b"\x7fELF\x02\x01" or struct.unpack_from("<H", program, 18)[0] != _X86_64:
            raise MachineError("only programs for x86-64 machines can be extended")
        try:
            self.entry, self._table = struct.unpack_from("<QQ", program, _ENTRY)
            (count,) = struct.unpack_from("<H", program, _COUNT)
            places = range(self._table, self._table + count * _SEGMENT.size, _SEGMENT.size)
            self._segments = [_SEGMENT.unpack_from(program, each) for each in places]
        except struct.error as error:
            raise MachineError("the program is cut short") from error
        self._data = bytearray(program)
        self._read: bytes | None = None
        self._added = bytearray()
        loads = self.segments(PT_LOAD)
        if not loads:
            raise MachineError("the program has no segments")
        self._last = loads[-1]
        self._address = _aligned(max(each[3] + each[6] for each in loads)) + _PAGE

    def segments(self, kind: int) -> list[tuple[int, ...]]:
        """Return the program headers of a kind: type, flags, offset, address, -, file size, memory size, -."""
        return [each for each in self._segments if each[0] == kind]

    @property
    def data(self) -> bytes:
        """The bytes of the file as it is now, without the addition."""
        if self._read is None:
            self._read = bytes(self._data)
        return self._read

    def find_address(self, offset: int) -> int | None:
        """Return where a byte of the file lies in memory, if it does."""
        for _, _, start, address, _, size, *_ in self.segments(PT_LOAD):
            if start <= offset < start + size:
                return address + offset - start
        return None

    def address(self, offset: int) -> int:
        """Return where a byte of the file lies in memory. Raises MachineError if it doesn't."""
        address = self.find_address(offset)
        if address is None:
            raise MachineError(f"byte {offset} of the program isn't loaded")
        return address

    def offset(self, address: int) -> int:
        """Return where in the file the byte at an address is. Raises MachineError if it isn't there."""
        for _, _, start, first, _, size, *_ in self.segments(PT_LOAD):
            if first <= address < first + size:
                return start + address - first
        raise MachineError(f"nothing of the program lies at {address:#x}")

    @property
    def is_fixed(self) -> bool:
        """Whether it can't be loaded but at its own addresses."""
        return self._data[_TYPE] == _ET_EXEC

    def write(self, offset: int, data: bytes) -> None:
        """Put bytes in the place of others in the file."""
        self._data[offset : offset + len(data)] = data
        self._read = None

    @property
    def next_address(self) -> int:
        """Where what is added next is going to lie in memory."""
        return self._address + len(self._added)

    def add(self, data: bytes) -> int:
        """Add bytes and return their address. Raises MachineError for too many of them."""
        address = self.next_address
        self._added += data
        if len(self._added) > _LONGEST:
            raise MachineError("too much is added to the program")
        return address

    def finish(self) -> bytes:
        """Return the changed program. Raises MachineError if it has no room for another segment."""
        segments = list(self._segments)
        spare = [each for kind in _SPARE for each in segments if each[0] == kind]
        if not spare:
            raise MachineError("the program has no room for another segment")
        offset = _aligned(len(self._data))
        size = len(self._added)
        added = (
            PT_LOAD,
            _READ_EXECUTE,
            offset,
            self._address,
            self._address,
            size,
            size,
            _PAGE,
        )
        segments.remove(spare[0])
        # Segments to load come in the order of their addresses.
        segments.insert(segments.index(self._last) + 1, added)
        out = bytearray(self._data.ljust(offset, b"\0") + self._added)
        struct.pack_into("<Q", out, _ENTRY, self.entry)
        packed = b"".join(_SEGMENT.pack(*each) for each in segments)
        out[self._table : self._table + len(packed)] = packed
        return bytes(out)


def _aligned(number: int) -> int:
    return -(-number // _PAGE) * _PAGE
