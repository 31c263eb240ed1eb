from __future__ import annotations

import io
import struct
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.emulation.elf import ELF_MAGIC, ElfHeader, build_elf, read_elf, read_elf_file
from polyarch.errors import MachineError
from polyarch.process import run
from tests.support.machine.emulators import fake_program, with_loader


@given(
    code=st.binary(max_size=40),
    bits=st.sampled_from([32, 64]),
    little_endian=st.booleans(),
    machine=st.integers(0, 0xFFFF),
    flags=st.integers(0, 0xFFFFFFFF),
)
def test_what_is_built_is_read(
    code: bytes, bits: int, little_endian: bool, machine: int, flags: int
) -> None:
    data = build_elf(code, bits=bits, little_endian=little_endian, machine=machine, flags=flags)

    assert data.endswith(code)
    assert read_elf(io.BytesIO(data), "program") == ElfHeader(
        bits=bits,
        little_endian=little_endian,
        type=2,
        machine=machine,
        flags=flags,
    )


@given(bits=st.sampled_from([1, 2]), order=st.sampled_from([1, 2]), rest=st.binary(max_size=300))
def test_damage_is_no_surprise(bits: int, order: int, rest: bytes) -> None:
    data = ELF_MAGIC + bytes((bits, order)) + rest

    with suppress(MachineError):
        assert read_elf(io.BytesIO(data), "program").bits == 32 * bits


@given(data=st.binary(max_size=80))
def test_other_files_are_refused(data: bytes) -> None:
    with pytest.raises(MachineError, match=r"^file is not an ELF file$"):
        read_elf(io.BytesIO(b"#" + data), "file")


def test_every_shorter_header_is_refused() -> None:
    data = fake_program(b"text")

    for length in range(64):
        with pytest.raises(MachineError, match=r"not an ELF file$|cut short$"):
            read_elf(io.BytesIO(data[:length]), "program")


def test_a_table_beyond_all_files_is_damage(tmp_path: Path) -> None:
    data = bytearray(fake_program(b"text"))
    struct.pack_into("<Q", data, 32, 2**64 - 1)
    (tmp_path / "program").write_bytes(data)

    with pytest.raises(MachineError, match="is a damaged ELF file"):
        read_elf_file(str(tmp_path / "program"))


@pytest.mark.parametrize("place", [4, 5])
def test_an_unknown_class_or_order_is_damage(place: int) -> None:
    data = bytearray(fake_program(b"text"))
    data[place] = 3

    with pytest.raises(MachineError, match=r"don't exist$"):
        read_elf(io.BytesIO(data), "program")


def test_a_program_with_an_interpreter_is_not_static() -> None:
    data = bytearray(fake_program(b"text"))
    struct.pack_into("<I", data, 64, 3)

    assert not read_elf(io.BytesIO(data), "program").static


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(MachineError, match=r"^/no/such can't be read: No such file"):
        read_elf_file("/no/such")


def test_what_is_built_runs(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(fake_program(b"hello\n", status=7))
    program.chmod(0o755)

    completed = run([str(program), "ignored"])

    assert (completed.status, completed.stdout) == (7, b"hello\n")


def test_the_loader_is_named() -> None:
    header = read_elf(io.BytesIO(with_loader("arm64", "/lib/ld-linux-aarch64.so.1")), "program")

    assert (header.interpreter, header.static) == ("/lib/ld-linux-aarch64.so.1", False)


@pytest.mark.parametrize("size", [0, 1, 5000, 2**63])
def test_a_loader_without_a_name_is_damage(size: int) -> None:
    data = bytearray(with_loader("amd64", "/lib/ld.so"))
    struct.pack_into("<Q", data, 64 + 56 + 32, size)

    with pytest.raises(MachineError, match="its program interpreter has no name"):
        read_elf(io.BytesIO(bytes(data)), "program")
