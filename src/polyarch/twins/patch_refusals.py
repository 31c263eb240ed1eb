"""What a twin can't do as the foreign program would: it ends there, and leaves a mark by which its step is run again.

The mark is that a file of the set is opened, of which the kernel tells those who started the step: what ends a
program can be caught (`python3 -c 'import yaml' || pip install pyyaml`), and a step that goes on after it would be
believed. The program ends with status 126, as one that can't be started does.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable

from polyarch.emulation.extended import PT_LOAD, Extended
from polyarch.errors import MachineError
from polyarch.twins.elffile import ElfFile
from polyarch.twins.patch_calls import redirect

__all__ = [
    "add_refusal",
    "refuse_entries",
    "refuse_imports",
    "refuse_numbers",
    "refuse_pointers",
    "refuse_slots",
]

_MESSAGE = b"polyarch: this has no native twin, its step needs emulation\n"
_TO_PATH = struct.pack("<i", 45 + len(_MESSAGE))
_LENGTH = struct.pack("<i", len(_MESSAGE))
_CODE = bytes.fromhex(
    f"488d3d{_TO_PATH.hex()}"  # lea rdi, [rip+path]
    "31f6"  # xor esi, esi
    "b802000000"  # mov eax, 2               open
    "0f05"  # syscall
    "bf02000000"  # mov edi, 2
    "488d3518000000"  # lea rsi, [rip+message]
    f"ba{_LENGTH.hex()}"  # mov edx, the length of the message
    "b801000000"  # mov eax, 1               write
    "0f05"  # syscall
    "bf7e000000"  # mov edi, 126
    "b8e7000000"  # mov eax, 231             exit_group
    "0f05"  # syscall; the message and the path follow
)
_CALLS = {b"\xff\x25": b"\xe9", b"\xff\x15": b"\xe8"}
"""`jmp [rip+distance]` and `call [rip+distance]`, and what they become: `jmp` and `call` of an address."""
_TAKES = re.compile(rb"\xff[\x15\x25]|[\x8b\x3b\xff][\x05\x0d\x15\x1d\x25\x2d\x35\x3d]")
_EXECUTE, _WRITE = 1, 2
_PAIR = struct.Struct("<QQ")
_DISTANCE = struct.Struct("<i")


def add_refusal(extended: Extended, mark: str) -> int:
    """Add the code that ends a program, and return its address. `mark` is the path of what it opens."""
    return extended.add(_CODE + _MESSAGE + mark.encode() + b"\0")


def refuse_imports(
    extended: Extended, program: ElfFile, names: Iterable[str], refusal: int
) -> None:
    """Let calls of functions of other libraries end the program, as far as it imports them.

    Raises MachineError for a program that uses one in another way than by calls.
    """
    imports = program.import_slots if program.needed else {}
    slots = {name: imports[name] for name in names if name in imports}
    found = _uses(extended, slots.values())
    for name, slot in slots.items():
        uses = found[slot]
        if not uses or not all(instruction in _CALLS for _, instruction in uses):
            raise MachineError(f"the program doesn't call {name} as it is known to")
        for at, instruction in uses:
            distance = refusal - (extended.address(at) + 5)
            extended.write(at, _CALLS[instruction] + struct.pack("<i", distance) + b"\x90")


def _uses(extended: Extended, slots: Iterable[int]) -> dict[int, list[tuple[int, bytes]]]:
    """Return where in the file instructions take an address from each of the slots, and their first two bytes.

    For all at once, as a large program takes a tenth of a second to look through.
    """
    found: dict[int, list[tuple[int, bytes]]] = {slot: [] for slot in slots}
    if not found:
        return found
    data = extended.data
    for _, flags, offset, address, _, size, *_ in extended.segments(PT_LOAD):
        for each in _TAKES.finditer(data, offset, offset + size - 4) if flags & _EXECUTE else ():
            end = each.end()
            (distance,) = _DISTANCE.unpack_from(data, end)
            slot = address + end + 4 - offset + distance
            if slot in found:
                found[slot].append((each.start(), each[0]))
    return found


def refuse_entries(extended: Extended, names: Iterable[bytes], refusal: int) -> None:
    """Let functions that a program has in tables end it: a text's address, and the function's behind that.

    Such are Python's tables of methods (PyMethodDef) and of modules (_inittab). Only for programs at fixed
    addresses. Raises MachineError for a name that no table has.
    """
    places = _codes(extended)
    for name in names:
        found = [
            at
            for address in _addresses(extended, name)
            for at in _pointers(extended, address)
            if _is_in(places, _PAIR.unpack_from(extended.data, at)[1])
        ]
        if not found:
            raise MachineError(f"the program has no table with {name.decode()}")
        for at in found:
            extended.write(at + 8, struct.pack("<Q", refusal))


def refuse_slots(extended: Extended, table: int, offsets: Iterable[int], refusal: int) -> None:
    """Let functions that a table at an address has at some offsets end the program.

    Raises MachineError if there are none.
    """
    for offset in offsets:
        at = extended.offset(table + offset)
        (function,) = struct.unpack_from("<Q", extended.data, at)
        if not _is_in(_codes(extended), function):
            raise MachineError(f"the program has no function at {table + offset:#x}")
        extended.write(at, struct.pack("<Q", refusal))


def refuse_numbers(extended: Extended, slot: int, numbers: range, refusal: int) -> None:
    """Let calls of a function of another library, by the slot of its address, end the program for some arguments.

    Raises MachineError if the call isn't found.
    """
    here = extended.next_address
    code = b"\x8d\x87" + struct.pack("<i", -numbers.start)  # lea eax, [rdi-first]
    code += b"\x83\xf8" + bytes([len(numbers) - 1])  # cmp eax, last-first
    code += b"\x0f\x86" + struct.pack("<i", refusal - (here + len(code) + 6))  # jbe refusal
    code += b"\xff\x25" + struct.pack("<i", slot - (here + len(code) + 6))  # jmp [rip+slot]
    redirect(extended, slot, extended.add(code), "sysconf")


def refuse_pointers(extended: Extended, slot: int, name: str, refusal: int) -> None:
    """Let calls of a function of another library end the program unless the first argument is a null pointer.

    Raises MachineError if the call isn't found.
    """
    here = extended.next_address
    code = b"\x48\x85\xff"  # test rdi, rdi
    code += b"\x0f\x85" + struct.pack("<i", refusal - (here + len(code) + 6))  # jnz refusal
    code += b"\xff\x25" + struct.pack("<i", slot - (here + len(code) + 6))  # jmp [rip+slot]
    redirect(extended, slot, extended.add(code), name)


def _codes(extended: Extended) -> list[range]:
    return [
        range(address, address + size)
        for _, flags, _, address, _, size, *_ in extended.segments(PT_LOAD)
        if flags & _EXECUTE
    ]


def _is_in(places: list[range], address: int) -> bool:
    return any(address in place for place in places)


def _addresses(extended: Extended, text: bytes) -> list[int]:
    """Return where a text that ends with NUL lies, also as the end of another one."""
    data, found, at = extended.data, [], -1
    while (at := data.find(text + b"\0", at + 1)) >= 0:
        address = extended.find_address(at)
        if address is not None:
            found.append(address)
    return found


def _pointers(extended: Extended, address: int) -> list[int]:
    """Return where in the file's data that can be written to an address stands."""
    data, wanted, found = extended.data, struct.pack("<Q", address), []
    for _, flags, offset, start, _, size, *_ in extended.segments(PT_LOAD):
        at = offset - 1
        while flags & _WRITE and (at := data.find(wanted, at + 1, offset + size)) >= 0:
            if (start + at - offset) % 8 == 0 and at + 16 <= offset + size:
                found.append(at)
    return found
