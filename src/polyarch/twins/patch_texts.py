"""Texts compiled into a program: the native machine's become the foreign one's, or there is no twin.

The new text is added, and the instructions that load the address of the old one (`lea register, [rip+distance]`)
are made to load that of the new one, and so are pointers in data, by their relocations. What is found by other means
is written over; if there is no room for that, the program can't be changed.

Source: Intel's manual, volume 2, LEA; RIP-relative addressing: mod 00, r/m 101.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Mapping

from polyarch.emulation.extended import PT_DYNAMIC, PT_LOAD, Extended
from polyarch.errors import MachineError
from polyarch.twins.patch_arrays import replace_copied

__all__ = ["replace_built", "replace_path", "replace_texts", "without_run_path"]

_EXECUTE = 1
_LEA = re.compile(rb"[\x48\x4c]\x8d[\x05\x0d\x15\x1d\x25\x2d\x35\x3d]")
_PRINTABLE = b"\n\t" + bytes(range(0x20, 0x7F))
_LEA_SIZE = 7
_NEXT_ARGUMENT = {0x3D: b"\xbe", 0x35: b"\xba", 0x15: b"\xb9"}
"""The register of a `lea`, and the first byte of `mov register, number` for the argument behind it: rdi and esi, ..."""
_MOVES = range(0xB8, 0xC0)
"""`mov register, number`."""
_NEAR = 32
"""Bytes of the instructions that prepare one call."""
_BUILT = 5
_RELATIVE = 8
"""R_X86_64_RELATIVE: a pointer of the program's own."""
_DYNAMIC = struct.Struct("<qQ")
_RUN_PATHS = (15, 29)
_NOBODYS = 0x6000000D
"""DT_LOOS: a tag that no loader knows."""


def replace_path(extended: Extended, old: bytes, new: bytes) -> None:
    """Write a path over one that isn't shorter and that the program has once. Raises MachineError."""
    places = list(re.finditer(rb"(?<=\0)" + re.escape(old) + rb"\0", extended.data))
    if len(places) != 1 or len(new) > len(old):
        raise MachineError(f"{old.decode()} can't be replaced by {new.decode()} in the program")
    extended.write(places[0].start(), new.ljust(len(old), b"\0"))


def replace_texts(
    extended: Extended, texts: Mapping[bytes, bytes], *, are_counted: bool = False
) -> None:
    """Replace texts, each up to its NUL, wherever the program takes them.

    `are_counted` says that the program hands their lengths on with them, as constants, which are changed, too.

    A text may also be the end of a longer one, which linkers don't write twice. Raises MachineError for one that
    the program has for itself and that can't be replaced.
    """
    if not texts:
        return
    loads: dict[int, list[int]] = {}
    for at, target in _loads(extended):
        loads.setdefault(target, []).append(at)
    for old, new in texts.items():
        data = extended.data
        added = extended.add(new + b"\0")
        for each in re.finditer(re.escape(old) + rb"\0", data):
            address = extended.find_address(each.start())
            if address is None:
                continue
            sites = loads.get(address, [])
            for at in sites:
                _reload(extended, at, added)
                if are_counted:
                    _recount(extended, at, (len(old), len(new)))
            is_pointed_at = _repoint(extended, data, address, added)
            fixed = _replace_fixed(extended, address, added) if extended.is_fixed else 0
            is_copied = replace_copied(extended, each.start(), old, new)
            is_whole = data[each.start() - 1] not in _PRINTABLE
            if is_whole and not (sites or is_pointed_at or fixed or is_copied):
                _overwrite(extended, each.start(), (old, new))


def _reload(extended: Extended, at: int, address: int) -> None:
    """Let the instruction at a place load another address, which it has relative to itself."""
    distance = address - (extended.address(at) + _LEA_SIZE)
    extended.write(at + _LEA_SIZE - 4, struct.pack("<i", distance))


def _repoint(extended: Extended, data: bytes, old: int, new: int) -> bool:
    """Let pointers in `data`, the program as it was, to the address `old` point to `new`; return whether there were any."""
    kept = [found.start() for found in re.finditer(_pointer(old), data)]
    for at in kept:
        extended.write(at, _pointer(new, is_pattern=False))
    return bool(kept)


def _replace_fixed(extended: Extended, old: int, new: int) -> int:
    """Let a program at fixed addresses take `new` wherever it has the address `old`; return how often that was.

    There, instructions have addresses as numbers (`mov register, number`), and so has data.
    """
    data, count = extended.data, 0
    number, pointer = struct.pack("<I", old), struct.pack("<Q", old)
    for _, flags, offset, address, _, size, *_ in extended.segments(PT_LOAD):
        found = [
            each.start() for each in re.finditer(re.escape(number), data[offset : offset + size])
        ]
        for at in found:
            place = offset + at
            if flags & _EXECUTE and data[place - 1] in _MOVES:
                extended.write(place, struct.pack("<I", new))
                count += 1
            elif (
                not flags & _EXECUTE and (address + at) % 8 == 0 and data.startswith(pointer, place)
            ):
                extended.write(place, struct.pack("<Q", new))
                count += 1
    return count


def replace_built(extended: Extended, old: bytes, new: bytes) -> int:
    """Replace a text of five bytes that instructions build on the stack, as C++ makes short strings.

    These are `movl $first four, place; ...; movb $last, place + 4`. Returns how often it was found. Raises MachineError
    for a text of another length.
    """
    if len(old) != _BUILT or len(new) != _BUILT:
        raise MachineError(f"{old.decode()!r} in the program can't become {new.decode()!r}")
    whole, rest = (re.escape(each) for each in (old[:4], old[4:]))
    # The places are relative to the same register, by a distance of one byte.
    pattern = re.compile(
        rb"\xc7([\x40-\x47]\x24?)(.)" + whole + rb".{0,%d}?\xc6\1(.)" % _NEAR + rest, re.DOTALL
    )
    sites = [
        each
        for _, flags, offset, _, _, size, *_ in extended.segments(PT_LOAD)
        if flags & _EXECUTE
        for each in pattern.finditer(extended.data, offset, offset + size)
        if each[3][0] == each[2][0] + 4
    ]
    for each in sites:
        extended.write(each.end(2), new[:4])
        extended.write(each.end(3), new[4:])
    return len(sites)


def _recount(extended: Extended, at: int, lengths: tuple[int, int]) -> None:
    """Change the length that a function gets behind the text whose address is loaded at a place of the file.

    It's loaded before the text is, not long before, into the register of the next argument.
    """
    data = extended.data
    load = _NEXT_ARGUMENT.get(data[at + 2])
    if load is None:
        return
    found = data.rfind(load + struct.pack("<I", lengths[0]), max(0, at - _NEAR), at)
    if found >= 0:
        extended.write(found + 1, struct.pack("<I", lengths[1]))


def _pointer(address: int, *, is_pattern: bool = True) -> bytes:
    """Return a relocation's type and the address that it puts where it is told to."""
    record = struct.pack("<QQ", _RELATIVE, address)
    return re.escape(record) if is_pattern else record


def _overwrite(extended: Extended, place: int, texts: tuple[bytes, bytes]) -> None:
    """Write a text over one that is found by other means than an instruction. Raises MachineError."""
    old, new = texts
    if len(new) > len(old):
        raise MachineError(f"{old.decode()!r} of the program can't become {new.decode()!r}")
    extended.write(place, new.ljust(len(old), b"\0"))


def _loads(extended: Extended) -> Iterator[tuple[int, int]]:
    """Give where in the file an instruction loads an address, and that address."""
    data = extended.data
    for _, flags, offset, address, _, size, *_ in extended.segments(PT_LOAD):
        if not flags & _EXECUTE:
            continue
        for each in _LEA.finditer(data, offset, offset + size - 4):
            (distance,) = struct.unpack_from("<i", data, each.end())
            yield each.start(), address + each.start() + _LEA_SIZE - offset + distance


def without_run_path(extended: Extended) -> None:
    """Have libraries looked for where the loader is told to, and nowhere in the foreign root."""
    for _, _, offset, _, _, size, *_ in extended.segments(PT_DYNAMIC):
        entries = extended.data[offset : offset + size]
        for at in range(offset, offset + size, _DYNAMIC.size):
            tag, value = _DYNAMIC.unpack_from(entries, at - offset)
            if tag in _RUN_PATHS:
                extended.write(at, _DYNAMIC.pack(_NOBODYS, value))
