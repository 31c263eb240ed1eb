"""Texts that functions copy to the stack, piece by piece."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from polyarch.emulation.extended import Extended
from polyarch.errors import MachineError
from polyarch.platforms import linux
from polyarch.twins.elffile import ElfFile
from polyarch.twins.patch_arrays import find_copied
from polyarch.twins.patch_texts import replace_texts
from polyarch.twins.texts import foreign_texts
from tests.support.machine.twinprograms import with_note

OLD = b"/lib/x86_64-linux-gnu/perl"
CONSTANTS = b"uespemosmodnarod"
"""What a program has before it: the beginning of "somepseudorandomlygeneratedbytes", as numbers."""
SPACE = bytes.fromhex("4881ec00010000")  # sub rsp, 256
# pxor xmm0, xmm0; movups [rsp+16+27], xmm0: the 16 bytes of the array behind the text
CLEAR, FAR_CLEAR = bytes.fromhex("660fefc0 0f1144242b"), bytes.fromhex("660fefc0 0f1184242b000000")
# lea rsi, [rsp+16]; mov edi, 1; mov edx, 43; mov eax, 1; syscall; xor edi, edi; mov eax, 60; syscall
SHOW = bytes.fromhex("488d742410 bf01000000 ba2b000000 b801000000 0f05 31ff b83c000000 0f05")


def copying(clear: bytes = CLEAR, pieces: int = 2) -> bytes:
    """Return a program that copies its text to an array of 43 bytes and prints that."""
    size = len(SPACE) + 2 * 13 + len(clear) + len(SHOW)
    padding = b"\x90" * (-size % 16)
    text = size + len(padding) + len(CONSTANTS)
    code = SPACE
    for number in range(2):
        # movdqa xmm0, [rip+distance]; movaps [rsp+16+16*number], xmm0
        distance = text + 16 * number - (len(code) + 8) if number < pieces else 0
        code += b"\x66\x0f\x6f\x05" + struct.pack("<i", distance)
        code += b"\x0f\x29\x44\x24" + bytes([16 + 16 * number])
    data = padding + CONSTANTS + OLD.ljust(32, b"\0")
    return with_note(code + clear + SHOW, data=data)


def printed(extended: Extended, directory: Path) -> bytes:
    program = directory / "program"
    program.write_bytes(extended.finish())
    program.chmod(0o755)
    return subprocess.run([program], check=True, capture_output=True).stdout


@pytest.mark.parametrize("clear", [CLEAR, FAR_CLEAR])
@pytest.mark.parametrize("name", [b"arm-linux-gnueabihf", b"aarch64-linux-gnu", b"i386-linux-gnu"])
def test_the_array_has_the_new_text(tmp_path: Path, name: bytes, clear: bytes) -> None:
    new = OLD.replace(b"x86_64-linux-gnu", name)
    extended = Extended(copying(clear))

    replace_texts(extended, {OLD: new})

    extended.add(b"\0")
    assert printed(extended, tmp_path) == new.ljust(43, b"\0")


@pytest.mark.parametrize(
    ("program", "new"),
    [
        (copying(), OLD + b"6 more"),  # the pieces end
        (copying(clear=b""), OLD + b"1"),  # what lies behind the text isn't known to be free
        (copying(clear=CLEAR.replace(b"\x2b", b"\x2c")), OLD + b"1"),
    ],
)
def test_a_text_without_room(program: bytes, new: bytes) -> None:
    with pytest.raises(MachineError, match="can't become"):
        replace_texts(Extended(program), {OLD: new})


def test_a_text_of_which_no_code_loads_all_is_not_copied() -> None:
    program = copying(pieces=1)

    assert find_copied(Extended(program), program.index(OLD), len(OLD)) == []


@pytest.mark.parametrize("pieces", [1, 2])
def test_constants_before_a_copied_text_are_no_part_of_it(pieces: int) -> None:
    native = with_text(copying(pieces=pieces), OLD)
    foreign = with_text(with_note(b"\xc3"), OLD.replace(b"x86_64", b"aarch64"))

    if pieces == 2:
        found = foreign_texts(native, foreign, linux("arm64"))
        assert found == {OLD: OLD.replace(b"x86_64", b"aarch64")}
    else:
        with pytest.raises(MachineError, match="it names the machine: 'uespemosmodnarod/lib"):
            foreign_texts(native, foreign, linux("arm64"))


def with_text(program: bytes, text: bytes) -> ElfFile:
    """Return a program with a text more, in its one segment."""
    data = bytearray(program + b"\0" + text + b"\0")
    struct.pack_into("<QQ", data, 64 + 32, len(data), len(data))
    return ElfFile(bytes(data), "p")
