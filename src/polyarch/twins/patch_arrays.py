"""A text that a function copies into an array of its own: the native machine's becomes the foreign one's there, too.

C writes that as `char path[SIZE] = "text"`. gcc since 14 keeps such a text among its constants of 16 bytes, behind others of
them and padded by zeros, copies it to the stack in such pieces (`movdqa xmm, [rip+distance]; movaps [rsp+place], xmm`), and
clears the 16 bytes of the array behind it (`movups [rsp+place], xmm`). What is written over the text may be longer as far as
the pieces go; what is cleared then begins later, and goes into what aligning the array by 16 bytes leaves free behind it.

Source: Intel's manual, volume 2; System V ABI, AMD64 supplement, 3.1.2 (arrays of 16 bytes are aligned by 16).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from polyarch.emulation.extended import PT_LOAD, Extended
from polyarch.errors import MachineError
from polyarch.record import frozen

__all__ = ["find_copied", "replace_copied"]

_PIECE = 16
_LOAD = re.compile(rb"\x66(\x44?)\x0f\x6f([\x05\x0d\x15\x1d\x25\x2d\x35\x3d])(.{4})", re.DOTALL)
_STORE = re.compile(
    rb"(\x44?)\x0f(?P<how>[\x29\x11])"
    rb"(?:[\x84\x8c\x94\x9c\xa4\xac\xb4\xbc]\x24(?P<far>.{4})|[\x44\x4c\x54\x5c\x64\x6c\x74\x7c]\x24(?P<near>.))",
    re.DOTALL,
)
_ALIGNED = b"\x29"
_NEAR = 128
"""Bytes of the instructions that copy one text."""
_EXECUTE = 1


@frozen
class _Store:
    """An instruction that puts 16 bytes at a distance from the stack's end: where in the file that distance is."""

    at: int
    width: int
    distance: int
    register: int
    is_aligned: bool


def find_copied(extended: Extended, place: int, length: int) -> list[int]:
    """Return where the code behind the first pieces of a text of `length` bytes is; none if it isn't copied in pieces.

    `place` is that of the text in the file.
    """
    address = extended.find_address(place)
    if address is None or address % _PIECE:
        return []
    pieces = range(address, address + length + 1, _PIECE)
    loads = _loads(extended, pieces)
    return loads[address] if all(loads[each] for each in pieces) else []


def replace_copied(extended: Extended, place: int, old: bytes, new: bytes) -> bool:
    """Put `new` in the place of `old` if that is copied in pieces; tell whether it is. Raises MachineError without room."""
    sites = find_copied(extended, place, len(old))
    if not sites:
        return False
    error = MachineError(f"{old.decode()!r} of the program can't become {new.decode()!r}")
    room = len(old) + _PIECE - len(old) % _PIECE
    if len(new) >= room or any(extended.data[place + len(old) : place + room]):
        raise error
    longer = len(new) - len(old)
    for site in sites if longer > 0 else ():
        cleared = _find_cleared(extended, site, len(old) + 1)
        # The array ends where the cleared bytes do.
        free = -(len(old) + 1) % _PIECE
        if cleared is None or longer > free or cleared.distance + longer > _largest(cleared.width):
            raise error
        moved = (cleared.distance + longer).to_bytes(cleared.width, "little", signed=True)
        extended.write(cleared.at, moved)
    extended.write(place, new.ljust(room, b"\0"))
    return True


def _largest(width: int) -> int:
    return (1 << (8 * width - 1)) - 1


def _loads(extended: Extended, wanted: range) -> dict[int, list[int]]:
    """Return where in the file the instructions are that load 16 bytes from each of these addresses."""
    found: dict[int, list[int]] = {each: [] for each in wanted}
    data = extended.data
    for _, flags, offset, address, _, size, *_ in extended.segments(PT_LOAD):
        if not flags & _EXECUTE:
            continue
        for each in _LOAD.finditer(data, offset, offset + size):
            (distance,) = struct.unpack("<i", each[3])
            target = address + each.end() - offset + distance
            if target in found:
                found[target].append(each.start())
    return found


def _find_cleared(extended: Extended, site: int, length: int) -> _Store | None:
    """Return the store of 16 bytes right behind a text of `length` bytes whose first piece is loaded at `site`."""
    load = _LOAD.match(extended.data, site)
    assert load is not None
    register = _register(load[1], load[2][0])
    stores = list(_stores(extended.data, load.end()))
    first = next((each for each in stores if each.register == register), None)
    if first is None or not first.is_aligned:
        return None
    behind = [each for each in stores if each.distance == first.distance + length]
    return behind[0] if len(behind) == 1 and not behind[0].is_aligned else None


def _stores(data: bytes, start: int) -> Iterator[_Store]:
    for each in _STORE.finditer(data, start, start + _NEAR):
        name = "far" if each["far"] else "near"
        yield _Store(
            at=each.start(name),
            width=len(each[name]),
            distance=int.from_bytes(each[name], "little", signed=True),
            register=_register(each[1], data[each.start("how") + 1]),
            is_aligned=each["how"] == _ALIGNED,
        )


def _register(prefix: bytes, fields: int) -> int:
    """Return the number of an instruction's register of 16 bytes."""
    return (fields >> 3 & 7) + 8 * bool(prefix)
