"""Programs that say something else than they were written to."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from polyarch.emulation.extended import Extended
from polyarch.errors import MachineError
from polyarch.twins.patch_texts import replace_built, replace_path, replace_texts
from tests.support.machine.twinprograms import with_note

# lea rsi, [rip+text]; mov edi, 1; mov edx, 16; mov eax, 1; syscall; xor edi, edi; mov eax, 60; syscall
LEA = bytes.fromhex("488d35")
REST = bytes.fromhex("bf01000000 ba10000000 b801000000 0f05 31ff b83c000000 0f05")


def printing(text: bytes, *, skipped: int = 0) -> bytes:
    """Return a program that prints 16 bytes from its text on, of which it skips some."""
    code = LEA + struct.pack("<i", len(REST) + 1 + skipped) + REST
    return with_note(code, data=b"\0" + text.ljust(24, b"\0"))


def printed(extended: Extended, directory: Path) -> bytes:
    program = directory / "program"
    program.write_bytes(extended.finish())
    program.chmod(0o755)
    ended = subprocess.run([program], check=True, capture_output=True)
    return ended.stdout.partition(b"\0")[0]


@pytest.mark.parametrize("new", [b"b", b"arm64", b"longer-than-it"])
def test_a_text_becomes_another_one(tmp_path: Path, new: bytes) -> None:
    extended = Extended(printing(b"amd64"))

    replace_texts(extended, {b"amd64": new})

    extended.add(bytes(16))  # what is printed behind the text
    assert printed(extended, tmp_path) == new


def test_the_end_of_a_longer_text_is_a_text(tmp_path: Path) -> None:
    extended = Extended(printing(b"x86_64-pc-linux-gnu", skipped=len(b"x86_64-pc-")))

    replace_texts(extended, {b"linux-gnu": b"linux-gnueabihf"})

    extended.add(bytes(16))
    assert printed(extended, tmp_path) == b"linux-gnueabihf"


def test_a_pointer_leads_to_the_new_text() -> None:
    program = printing(b"other")
    extended = Extended(program)
    address = extended.address(program.index(b"other"))
    pointer = struct.pack("<QQ", 8, address)
    kept = Extended(program + pointer)

    replace_texts(kept, {b"other": b"another"})

    _, moved = struct.unpack("<QQ", kept.data[len(program) :])
    assert moved != address


def test_a_text_that_is_found_otherwise_is_written_over() -> None:
    program = with_note(b"\xc3", data=b"\0amd64\0")
    extended = Extended(program)

    replace_texts(extended, {b"amd64": b"arm"})

    assert extended.data == program.replace(b"amd64", b"arm\0\0")


def test_a_text_that_is_found_otherwise_has_its_room() -> None:
    extended = Extended(with_note(b"\xc3", data=b"\0amd64\0"))

    with pytest.raises(MachineError, match="'amd64' of the program can't become 'riscv64'"):
        replace_texts(extended, {b"amd64": b"riscv64"})


def test_a_path_is_replaced_where_it_is_once() -> None:
    extended = Extended(with_note(b"\xc3", data=b"\0/etc/ld.so.cache\0"))

    replace_path(extended, b"/etc/ld.so.cache", b"/dev/.pa/1/c")

    assert b"\0/dev/.pa/1/c\0\0\0\0\0" in extended.data


@pytest.mark.parametrize(
    ("data", "new"), [(b"\0/etc/a\0/etc/a\0", b"/a"), (b"\0/etc/a\0", b"/longer/a"), (b"", b"/a")]
)
def test_a_path_that_cant_be_replaced(data: bytes, new: bytes) -> None:
    with pytest.raises(MachineError, match="can't be replaced"):
        replace_path(Extended(with_note(b"\xc3", data=data)), b"/etc/a", new)


# sub rsp, 64; the text; lea rsi, [rsp+16]; mov edi, 1; mov edx, 5; mov eax, 1; syscall; xor edi, edi; mov eax, 60; syscall
SPACE = bytes.fromhex("4883ec40")
BUILT = bytes.fromhex("c744241061 6d6436 90 c644241434")
AT_ANOTHER_PLACE = bytes.fromhex("c744241061 6d6436 90 c644241534")
SHOW = bytes.fromhex("488d742410 bf01000000 ba05000000 b801000000 0f05 31ff b83c000000 0f05")


def test_a_text_that_instructions_build_becomes_another_one(tmp_path: Path) -> None:
    extended = Extended(with_note(SPACE + BUILT + SHOW))

    assert replace_built(extended, b"amd64", b"armhf") == 1

    extended.add(b"\0")
    assert printed(extended, tmp_path) == b"armhf"


@pytest.mark.parametrize("code", [b"", AT_ANOTHER_PLACE, BUILT[:8]])
def test_instructions_that_build_something_else_stay(code: bytes) -> None:
    program = with_note(SPACE + code + SHOW)
    extended = Extended(program)

    assert replace_built(extended, b"amd64", b"arm64") == 0
    assert extended.data == program


def test_instructions_build_no_other_length() -> None:
    with pytest.raises(MachineError, match="'amd64' in the program can't become 'riscv64'"):
        replace_built(Extended(with_note(SPACE + BUILT + SHOW)), b"amd64", b"riscv64")
