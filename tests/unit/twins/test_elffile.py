"""What ELF files say of themselves."""

from __future__ import annotations

import pytest

from polyarch.emulation.elf import build_elf
from polyarch.errors import MachineError
from polyarch.twins.elffile import ElfFile
from tests.support.machine.twinprograms import with_note


def test_a_dynamic_program_of_this_machine() -> None:
    with open("/usr/bin/env", "rb") as file:
        program = ElfFile(file.read(), "env")

    assert program.bits == 64
    assert program.is_little_endian
    assert program.interpreter.startswith("/lib")
    assert "libc.so.6" in program.needed
    assert program.soname == ""
    offset, build_id = program.build_id
    assert len(build_id) == 20
    assert program.data[offset : offset + 20] == build_id


def test_the_names_of_a_program_are_found() -> None:
    with open("/usr/bin/env", "rb") as file:
        program = ElfFile(file.read(), "env")

    start, end = program.names

    assert b"\0libc.so.6\0" in program.data[start:end]


def test_a_static_program() -> None:
    program = ElfFile(with_note(b"\xc3", build_id=b"12345678"), "static")

    assert program.interpreter == ""
    assert program.needed == ()
    assert program.names == (0, 0)
    assert program.build_id[1] == b"12345678"


def test_go_has_build_ids_of_its_own() -> None:
    program = ElfFile(with_note(b"\xc3", build_id=b"made/of/the program", is_go=True), "go")

    offset, build_id = program.build_id

    assert build_id == b"the program"
    assert program.data[offset:].startswith(b"the program\xc3")


@pytest.mark.parametrize("is_little", [True, False])
@pytest.mark.parametrize("bits", [32, 64])
def test_any_cpu(bits: int, is_little: bool) -> None:
    data = build_elf(b"code", bits=bits, little_endian=is_little, machine=8, flags=0)

    program = ElfFile(data, "any")

    assert (program.bits, program.is_little_endian, program.machine) == (bits, is_little, 8)
    (segment,) = program.of_kind(1)
    assert (segment.offset, segment.size) == (0, len(data))
    assert program.build_id == (0, b"")


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "not an ELF"), (b"#!/bin/sh", "not an ELF"), (b"\x7fELF\2\1", "cut short")],
)
def test_what_is_none(data: bytes, message: str) -> None:
    with pytest.raises(MachineError, match=f"x is.*{message}"):
        ElfFile(data, "x")
