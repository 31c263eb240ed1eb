"""`chroot` in a native twin: what goes to another root leaves the mark by which its step is run again.

A twin's loader and libraries lie in the step's own root, so none can be started in another one: the kernel says that
there is no such file. A script may go on after that. In the place of `mov eax, 161; syscall` stands a jump to added
code, which opens the mark (`patch_refusals`) and closes it, and then does both.

Source: syscall numbers of x86-64: open 2, close 3, chroot 161. Below the stack lie 128 bytes that functions may use.
"""

from __future__ import annotations

import struct

from polyarch.emulation.extended import Extended
from polyarch.twins.patch_entry import jump

__all__ = ["mark_chroot"]

_SITE = bytes.fromhex(
    "b8a1000000"  # mov eax, 161
    "0f05"  # syscall
)
_OPEN = bytes.fromhex(
    "488d642480"  # lea rsp, [rsp-128]
    "57"  # push rdi
    "56"  # push rsi
    "488d3d"  # lea rdi, [rip+distance]; the distance to the path follows
)
_CALL = bytes.fromhex(
    "31f6"  # xor esi, esi
    "b802000000"  # mov eax, 2
    "0f05"  # syscall
    "89c7"  # mov edi, eax
    "b803000000"  # mov eax, 3
    "0f05"  # syscall
    "5e"  # pop rsi
    "5f"  # pop rdi
    "488da42480000000"  # lea rsp, [rsp+128]
    "b8a1000000"  # mov eax, 161
    "0f05"  # syscall; the jump back and the path follow
)
_JUMP_SIZE = 5


def mark_chroot(extended: Extended, mark: str) -> int:
    """Let all calls of chroot in a program or library open the file at the path `mark`; return how many there are.

    Raises MachineError for a program that can't be extended.
    """
    data, found, start = extended.data, 0, 0
    while (at := data.find(_SITE, start)) >= 0:
        start, site = at + len(_SITE), extended.address(at)
        code = _OPEN + struct.pack("<i", len(_CALL) + _JUMP_SIZE) + _CALL
        here = extended.next_address
        back = jump(here + len(code), site + len(_SITE))
        extended.add(code + back + mark.encode() + b"\0")
        extended.write(at, jump(site, here) + b"\x66\x90")  # and a nop of two bytes
        found += 1
    return found
