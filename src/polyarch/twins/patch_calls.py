"""Calls of libraries that go another way in a twin: `dlopen` of a foreign file, and `strtold`.

Modules that a program loads by itself: `dlopen` of a foreign file is made one of its native twin.
perl and Python find a module's library beside the module's text, in a directory that has both for the foreign machine. Their
calls of dlopen go to added code, which looks for the same path below a directory of the set, and takes that if it is
there. A module that isn't there, since the step has installed it, ends the program: perl might go on without it, and
nobody would see (`patch_refusals`).

Numbers of a CPU whose `long double` is a `double`: what `strtold` returns is rounded to one, so that bash's printf shows 1.2345
with three digits as 1.234, which that is a little less than.

Source: System V ABI, AMD64 supplement, “Procedure Linkage Table”.
"""

from __future__ import annotations

import re
import struct

from polyarch.emulation.extended import PT_LOAD, Extended
from polyarch.errors import MachineError
from polyarch.twins.elffile import ElfFile
from polyarch.twins.patch_entry import jump

__all__ = ["clear_before", "load_below", "redirect", "round_numbers"]

_EXECUTE = 1
_JUMP = re.compile(rb"\xff\x25....", re.DOTALL)  # jmp [rip+distance]
_CODE = bytes.fromhex(
    "4885ff"  # test rdi, rdi            no path: the program itself
    "7467"  # jz 9f
    "55"  # push rbp
    "4889e5"  # mov rbp, rsp
    "56"  # push rsi
    "57"  # push rdi
    "4881ec00100000"  # sub rsp, 4096
    "fc"  # cld
    "488d3558000000"  # lea rsi, [rip+prefix]
    "4889e7"  # mov rdi, rsp
    "ac"  # 1: lodsb
    "aa"  # stosb
    "84c0"  # test al, al
    "75fa"  # jnz 1b
    "48ffcf"  # dec rdi
    "488b75f0"  # mov rsi, [rbp-16]
    "b9a00f0000"  # mov ecx, 4000
    "ac"  # 2: lodsb
    "aa"  # stosb
    "84c0"  # test al, al
    "e0fa"  # loopne 2b
    "4889e7"  # mov rdi, rsp
    "31f6"  # xor esi, esi
    "b815000000"  # mov eax, 21              access
    "0f05"  # syscall
    "4889e7"  # mov rdi, rsp
    "85c0"  # test eax, eax
    "7419"  # jz 3f
    "488b7df0"  # mov rdi, [rbp-16]
    "31f6"  # xor esi, esi
    "b815000000"  # mov eax, 21              access
    "0f05"  # syscall
    "488b7df0"  # mov rdi, [rbp-16]
    "85c0"  # test eax, eax
    "0f84"  # jz refusal; the distance follows
)
_LOAD = bytes.fromhex(
    "488b75f8"  # 3: mov rsi, [rbp-8]
    "e802000000"  # call 9f
    "c9"  # leave
    "c3"  # ret
    "ff25"  # 9: jmp [rip+distance]; the distance to dlopen's address and the prefix follow
)

_CLEAR = bytes.fromhex(
    "31c0"  # xor eax, eax
    "488907"  # mov [rdi], rax
    "48894708"  # mov [rdi+8], rax
    "48894710"  # mov [rdi+16], rax
)


_STRTOLD = b"\0strtold\0"
_CALL = bytes.fromhex(
    "4883ec18"  # sub rsp, 24
    "ff15"  # call [rip+distance]; the distance follows
)
_ROUND = bytes.fromhex(
    "dd1c24"  # fstp qword ptr [rsp]
    "dd0424"  # fld qword ptr [rsp]
    "4883c418"  # add rsp, 24
    "c3"  # ret
)


def load_below(extended: Extended, program: ElfFile, directory: str, refusal: int) -> None:
    """Let a program load what is below a directory, under the same path, in the place of what it would load.

    What isn't there, but is a file, leads to the code at the address `refusal`, which ends the program. Raises
    MachineError for a program whose call of dlopen isn't found.
    """
    slot = program.import_slot("dlopen")
    if len(directory) > 64:
        raise MachineError(f"{directory} is too long a path for modules")
    here = extended.next_address + len(_CODE) + 4
    code = _CODE + struct.pack("<i", refusal - here) + _LOAD
    code += struct.pack("<i", slot - (extended.next_address + len(code) + 4))
    redirect(extended, slot, extended.add(code + directory.encode() + b"\0"), "dlopen")


def round_numbers(extended: Extended, program: ElfFile) -> None:
    """Round what a program gets from strtold, if it calls that, to a double.

    Raises MachineError for a program whose call isn't found.
    """
    if _STRTOLD not in program.data:
        return
    slot = program.import_slot("strtold")
    distance = slot - (extended.next_address + len(_CALL) + 4)
    added = extended.add(_CALL + struct.pack("<i", distance) + _ROUND)
    redirect(extended, slot, added, "strtold")


def redirect(extended: Extended, slot: int, added: int, name: str) -> None:
    """Let a program's calls of a function go to what was added. Raises MachineError if they aren't found."""
    data, sites = extended.data, []
    for _, flags, offset, address, _, size, *_ in extended.segments(PT_LOAD):
        for each in _JUMP.finditer(data, offset, offset + size) if flags & _EXECUTE else ():
            (distance,) = struct.unpack_from("<i", data, each.end() - 4)
            if address + each.end() - offset + distance == slot:
                sites.append(each.start())
    if len(sites) != 1:
        raise MachineError(f"the program doesn't call {name} as it is known to")
    extended.write(sites[0], jump(extended.address(sites[0]), added) + b"\x90")  # and a nop


def clear_before(extended: Extended, library: ElfFile, function: str) -> None:
    """Let a function that fills a record find the first 24 bytes of it cleared.

    apt writes its caches' header with a byte that it never sets. A foreign process has a 0 there, since
    an emulator gives it low addresses, of whose bytes a stack is full. Others call the function by its name, so it's
    enough that the name leads elsewhere. Raises MachineError for a library that has no such function.
    """
    address, place = library.exported(function)
    added = extended.next_address
    extended.add(_CLEAR + jump(added + len(_CLEAR), address))
    extended.write(place, struct.pack("<Q", added))
