"""The first instructions of a native twin, which the kernel starts in place of a foreign program.

What the kernel leaves on the stack for a handler's interpreter, and what the program is to find:

    argc    TWIN  PROGRAM  NAME  arguments ...
    argc-2  NAME  arguments ...

The code lies in the loader of dynamic programs and in static programs themselves. It changes nothing if the
kernel hasn't set bit 0 of AT_FLAGS: then the twin was started as itself, by /proc/self/exe, say. Else it looks at
the foreign program, which the kernel hands over open: its size and its build ID must be those of a program that
the twin, or one of its siblings, stands for. The kernel tells programs apart by 256 bytes, and `true` and `false`
have the same. Any other program, every program whose environment has something for a foreign loader (LD_PRELOAD)
or for QEMU, and a compiler that isn't told by GOARCH what it works for, is given to the emulator, as if there were
no twins. So is an interpreter that is trusted with some scripts only, if it's started with anything else than one of
those, or `-w` and one of those, if that has another size than in the base image, or if the environment has variables for perl (but
PERL_DL_NONLAZY and PERL_BADLANG). So is a program that would load a file that has no native twin, if that is there.

`prctl(PR_SET_MM_MAP)` tells the kernel where the arguments are, for /proc/PID/cmdline. Where it may not be
called, the line shows the interpreter, too, as it does with an emulator.

Source: System V ABI, AMD64 supplement, “Initial Stack and Register State”; fs/binfmt_misc.c of Linux.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from polyarch.emulation.extended import Extended
from polyarch.errors import MachineError
from polyarch.record import field, frozen

__all__ = ["ID_SIZE", "Known", "begin_loader", "begin_program", "jump"]

ID_SIZE = 24
"""As many bytes of a build ID are compared at most."""
_RECORD = struct.Struct(f"<QII{ID_SIZE}sII")
_FILES = 1 << 31
"""Marks the distance to a list of files, where there may be one to a list of scripts."""

# Registers other than rsp are free at the beginning, and 0. The table is found from AT_ENTRY: before that
# are the number of records and the distance to the first one.
_CODE = bytes.fromhex(
    # The environment: rbx; r8 counts the variables that a foreign loader or QEMU would obey.
    "488b0424"  # mov rax, [rsp]
    "488d5cc410"  # lea rbx, [rsp+rax*8+16]
    "4889de"  # mov rsi, rbx
    "4531c0"  # xor r8d, r8d
    "bdffffffff"  # mov ebp, -1
    "488b3e"  # 1: mov rdi, [rsi]
    "4883c608"  # add rsi, 8
    "4885ff"  # test rdi, rdi
    "741a"  # jz 4f
    "8b07"  # mov eax, [rdi]
    "3d51454d55"  # cmp eax, 0x554d4551
    "740c"  # je 2f
    "25ffffff00"  # and eax, 0xffffff
    "3d4c445f00"  # cmp eax, 0x5f444c
    "75df"  # jne 1b
    "41ffc0"  # 2: inc r8d
    "ebda"  # jmp 1b
    # The auxiliary vector: the foreign program's descriptor, program headers, flags, entry, file name.
    "488b06"  # 4: mov rax, [rsi]
    "488b7e08"  # mov rdi, [rsi+8]
    "4883c610"  # add rsi, 16
    "83f802"  # cmp eax, 2
    "0f44ef"  # cmove ebp, edi
    "83f803"  # cmp eax, 3
    "4c0f44e7"  # cmove r12, rdi
    "83f808"  # cmp eax, 8
    "4c0f44ef"  # cmove r13, rdi
    "83f809"  # cmp eax, 9
    "4c0f44f7"  # cmove r14, rdi
    "83f81f"  # cmp eax, 31
    "4c0f44ff"  # cmove r15, rdi
    "85c0"  # test eax, eax
    "75cf"  # jnz 4b
    # Not started in place of a foreign program: as the program is written.
    "41f7c501000000"  # test r13d, 1
    "0f8460020000"  # jz 30f
    # The foreign program, by its size and its build ID, among those that are known.
    "4881ecc0000000"  # sub rsp, 192
    "89ef"  # mov edi, ebp
    "4889e6"  # mov rsi, rsp
    "b805000000"  # mov eax, 5
    "0f05"  # syscall
    "85c0"  # test eax, eax
    "7554"  # jnz 17f
    "4585c0"  # test r8d, r8d
    "754f"  # jnz 17f
    "4d89f1"  # mov r9, r14
    "4d2b4ef8"  # sub r9, [r14-8]
    "4d8b46f0"  # mov r8, [r14-16]
    "498b01"  # 11: mov rax, [r9]
    "483b442430"  # cmp rax, [rsp+48]
    "7531"  # jne 14f
    "89ef"  # mov edi, ebp
    "488db42490000000"  # lea rsi, [rsp+144]
    "418b510c"  # mov edx, [r9+12]
    "458b5108"  # mov r10d, [r9+8]
    "b811000000"  # mov eax, 17
    "0f05"  # syscall
    "418b490c"  # mov ecx, [r9+12]
    "39c8"  # cmp eax, ecx
    "7510"  # jne 14f
    "488db42490000000"  # lea rsi, [rsp+144]
    "498d7910"  # lea rdi, [r9+16]
    "f3a6"  # repe cmpsb
    "740c"  # je 18f
    "4983c130"  # 14: add r9, 48
    "49ffc8"  # dec r8
    "75bc"  # jnz 11b
    "4531c9"  # 17: xor r9d, r9d
    # One that would take itself for a native compiler without GOARCH has to have that.
    "4d85c9"  # 18: test r9, r9
    "0f8418010000"  # jz 19f
    "418b492c"  # mov ecx, [r9+44]
    "85c9"  # test ecx, ecx
    "0f840c010000"  # je 19f
    # One of a list of files that is there makes it the emulator's.
    "7933"  # jns 3f
    "81e1ffffff7f"  # and ecx, 0x7fffffff
    "498d3c09"  # lea rdi, [r9+rcx]
    "803f00"  # 1: cmp byte ptr [rdi], 0
    "0f84f7000000"  # je 19f
    "31f6"  # xor esi, esi
    "b815000000"  # mov eax, 21
    "0f05"  # syscall
    "85c0"  # test eax, eax
    "740b"  # jz 2f
    "8a07"  # 4: mov al, [rdi]
    "48ffc7"  # inc rdi
    "84c0"  # test al, al
    "75f7"  # jnz 4b
    "ebdf"  # jmp 1b
    "4531c9"  # 2: xor r9d, r9d
    "e9d7000000"  # jmp 19f
    # A script that isn't known to do the same on both machines is the emulator's, and so is one that was changed.
    "83f901"  # cmp ecx, 1
    "0f849d000000"  # je 16f
    "4889de"  # mov rsi, rbx
    "488b3e"  # 1: mov rdi, [rsi]
    "4883c608"  # add rsi, 8
    "4885ff"  # test rdi, rdi
    "741c"  # jz 3f
    "813f5045524c"  # cmp dword ptr [rdi], "PERL"
    "75ec"  # jne 1b
    "817f045f444c5f"  # cmp dword ptr [rdi+4], "_DL_"
    "74e3"  # je 1b
    "817f045f424144"  # cmp dword ptr [rdi+4], "_BAD"
    "74da"  # je 1b
    "eb5f"  # jmp 9f
    "488bbc24e0000000"  # 3: mov rdi, [rsp+224]
    "4885ff"  # test rdi, rdi
    "7452"  # jz 9f
    "66813f2d77"  # cmp word ptr [rdi], "-w"
    "7513"  # jne 4f
    "807f0200"  # cmp byte ptr [rdi+2], 0
    "750d"  # jne 4f
    "488bbc24e8000000"  # mov rdi, [rsp+232]
    "4885ff"  # test rdi, rdi
    "7438"  # jz 9f
    "4d8d0409"  # 4: lea r8, [r9+rcx]
    "4d8b10"  # 5: mov r10, [r8]
    "498d7008"  # lea rsi, [r8+8]
    "803e00"  # cmp byte ptr [rsi], 0
    "7428"  # je 9f
    "4889fa"  # mov rdx, rdi
    "8a06"  # 6: mov al, [rsi]
    "3a02"  # cmp al, [rdx]
    "7524"  # jne 7f
    "48ffc6"  # inc rsi
    "48ffc2"  # inc rdx
    "84c0"  # test al, al
    "75f0"  # jnz 6b
    "4889e6"  # mov rsi, rsp
    "b804000000"  # mov eax, 4
    "0f05"  # syscall
    "85c0"  # test eax, eax
    "7507"  # jnz 9f
    "4c3b542430"  # cmp r10, [rsp+48]
    "7444"  # je 19f
    "4531c9"  # 9: xor r9d, r9d
    "eb3f"  # jmp 19f
    "8a06"  # 7: mov al, [rsi]
    "48ffc6"  # inc rsi
    "84c0"  # test al, al
    "75f7"  # jnz 7b
    "4989f0"  # mov r8, rsi
    "ebb9"  # jmp 5b
    "4889de"  # 16: mov rsi, rbx
    "488b3e"  # 1: mov rdi, [rsi]
    "4883c608"  # add rsi, 8
    "4885ff"  # test rdi, rdi
    "741f"  # jz 2f
    "488b07"  # mov rax, [rdi]
    "4889c1"  # mov rcx, rax
    "48c1e108"  # shl rcx, 8
    "48ba00474f415243483d"  # movabs rdx, "GOARCH=" << 8
    "4839d1"  # cmp rcx, rdx
    "75db"  # jne 1b
    "48c1e838"  # shr rax, 56
    "7503"  # jnz 19f
    "4531c9"  # 2: xor r9d, r9d
    # Whatever it is, it isn't to stay open.
    "89ef"  # 19: mov edi, ebp
    "b803000000"  # mov eax, 3
    "0f05"  # syscall
    "4881c4c0000000"  # add rsp, 192
    "4d85c9"  # test r9, r9
    "7413"  # jz 20f
    # A known one; if it is another one's twin that is wanted, that is started.
    "418b4128"  # mov eax, [r9+40]
    "85c0"  # test eax, eax
    "744f"  # jz 25f
    "498d3c01"  # lea rdi, [r9+rax]
    "488d742418"  # lea rsi, [rsp+24]
    "eb2e"  # jmp 21f
    # An unknown one: emulator -0 NAME PROGRAM ..., in the place of argc and what the kernel put in front.
    "488b4c2418"  # 20: mov rcx, [rsp+24]
    "488b442410"  # mov rax, [rsp+16]
    "4889442418"  # mov [rsp+24], rax
    "48894c2410"  # mov [rsp+16], rcx
    "488d0593000000"  # lea rax, [rip+option]
    "4889442408"  # mov [rsp+8], rax
    "488d3d8a000000"  # lea rdi, [rip+emulator]
    "48893c24"  # mov [rsp], rdi
    "4889e6"  # mov rsi, rsp
    "4889da"  # 21: mov rdx, rbx
    "b83b000000"  # mov eax, 59
    "0f05"  # syscall
    "bf7e000000"  # mov edi, 126
    "b8e7000000"  # mov eax, 231
    "0f05"  # syscall
    # The kernel's two arguments go, and what /proc/PID/cmdline shows is as if they had never been there.
    "488b0424"  # 25: mov rax, [rsp]
    "4883e802"  # sub rax, 2
    "4883c410"  # add rsp, 16
    "48890424"  # mov [rsp], rax
    "488b33"  # mov rsi, [rbx]
    "4885f6"  # test rsi, rsi
    "490f44f7"  # cmovz rsi, r15
    "31ff"  # xor edi, edi
    "b80c000000"  # mov eax, 12
    "0f05"  # syscall
    "4889e5"  # mov rbp, rsp
    "6aff"  # push -1
    "c7042400000000"  # mov dword ptr [rsp], 0
    "6a00"  # push 0
    "4157"  # push r15
    "56"  # push rsi
    "56"  # push rsi
    "ff7508"  # push qword ptr [rbp+8]
    "55"  # push rbp
    "50"  # push rax
    "50"  # push rax
    "4156"  # push r14
    "4156"  # push r14
    "4156"  # push r14
    "4154"  # push r12
    "bf23000000"  # mov edi, 35
    "be0e000000"  # mov esi, 14
    "4889e2"  # mov rdx, rsp
    "41ba68000000"  # mov r10d, 104
    "4531c0"  # xor r8d, r8d
    "b89d000000"  # mov eax, 157
    "0f05"  # syscall
    "4889ec"  # mov rsp, rbp
    "31d2"  # xor edx, edx
    # 30: the jump to where the program began, the option, and the path of the emulator follow
)


@frozen
class Known:
    """A foreign program as its twin knows it: the size of the file, and some bytes of it, in their place.

    `path` is where the twin lies for a step; "" for the one that the kernel starts for such programs.
    """

    size: int
    offset: int
    content: bytes
    path: str = ""
    needs_goarch: bool = False
    """Whether the environment has to say for which CPU it works: else it would be for that it was built for."""
    scripts: Mapping[str, int] = field(default_factory=dict)
    """The only scripts that it runs natively, with their sizes, if there are such: absolute paths, without links."""
    unless: Sequence[str] = ()
    """Files of which none may be there; not for a program with `scripts`."""


def begin_program(extended: Extended, known: Sequence[Known], *, emulator: str = "") -> None:
    """Give a twin the table of the foreign programs that it and its siblings stand for.

    A static program is told the path at which a step has the emulator, as a loader is: see `begin_loader`.
    Raises MachineError for a program that can't be extended.
    """
    size = len(known) * _RECORD.size
    records, paths = b"", b""
    for each in known:
        if len(each.content) > ID_SIZE:
            raise MachineError(f"a build ID has more than {ID_SIZE} bytes")
        path = size - len(records) + len(paths) if each.path else 0
        paths += each.path.encode() + b"\0" if each.path else b""
        needs = size - len(records) + len(paths) if each.scripts else int(each.needs_goarch)
        paths += _listed(each.scripts) if each.scripts else b""
        if each.unless:
            needs = _FILES | size - len(records) + len(paths)
            paths += b"".join(path.encode() + b"\0" for path in each.unless) + b"\0"
        head = (each.size, each.offset, len(each.content), each.content)
        records += _RECORD.pack(*head, path, needs)
    table = records + paths
    extended.add(table + struct.pack("<QQ", len(known), len(table) + 16))
    if emulator:
        begin_loader(extended, emulator)
    else:
        extended.entry = extended.add(jump(extended.next_address, extended.entry))


def _listed(scripts: Mapping[str, int]) -> bytes:
    """Return sizes and paths, up to an empty path."""
    listed = (struct.pack("<Q", size) + path.encode() + b"\0" for path, size in scripts.items())
    return b"".join(listed) + bytes(9)


def begin_loader(extended: Extended, emulator: str) -> None:
    """Let a loader begin with the instructions. Raises as `begin_program`.

    `emulator` is the path at which a step has the emulator of foreign programs.
    """
    on = jump(extended.next_address + len(_CODE), extended.entry)
    extended.entry = extended.add(_CODE + on + b"-0\0" + emulator.encode() + b"\0")


def jump(address: int, to: int) -> bytes:
    """Return the jump that lies at an address and goes to another one."""
    return b"\xe9" + struct.pack("<i", to - address - 5)
