"""`uname` in a native twin: libc's system call is followed by instructions that name the foreign machine.

In the place of `mov eax, 63; syscall` stands a jump to added code, which does both and then writes
the machine's name over the one that the kernel gave, in `struct utsname`, whose address is in rdi.

Source: uname(2) of x86-64: six fields of 65 bytes, the machine the fifth.
"""

from __future__ import annotations

from polyarch.emulation.extended import Extended
from polyarch.errors import MachineError
from polyarch.twins.patch_entry import jump

__all__ = ["answer_uname"]

_SITE = bytes.fromhex(
    "b83f000000"  # mov eax, 63
    "0f05"  # syscall
)
_FIELD = 16
_CODE = bytes.fromhex(
    "b83f000000"  # mov eax, 63
    "0f05"  # syscall
    "85c0"  # test eax, eax
    "7522"  # jnz 1f
    "48b9"  # movabs rcx, the name, which follows; a system call changes rcx anyway
    "48898f04010000"  # mov [rdi+260], rcx
    "48b9"  # movabs rcx, the rest of it, which follows
    "48898f0c010000"  # mov [rdi+268], rcx
    # 1: the jump back follows
)
_NAME, _REST = 13, 22
"""Where in the code the halves of the name belong."""


def answer_uname(extended: Extended, machine: str) -> int:
    """Let all calls of uname in a program or library tell `machine`; return how many there are.

    Raises MachineError for a name of more than 15 bytes, and for a program that can't be extended.
    """
    name = machine.encode().ljust(_FIELD, b"\0")
    if len(name) > _FIELD or name[-1]:
        raise MachineError(f"the machine's name {machine} is too long to be told")
    data, found, start = extended.data, 0, 0
    while (at := data.find(_SITE, start)) >= 0:
        start, site = at + len(_SITE), extended.address(at)
        here = extended.next_address
        code = _CODE[:_NAME] + name[:8] + _CODE[_NAME:_REST] + name[8:] + _CODE[_REST:]
        extended.add(code + jump(here + len(code), site + len(_SITE)))
        extended.write(at, jump(site, here) + b"\x66\x90")  # and a nop of two bytes
        found += 1
    return found
