"""A libc that tells of another machine."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from polyarch.emulation.elf import build_elf
from polyarch.emulation.extended import Extended
from polyarch.errors import MachineError
from polyarch.twins.patch_uname import answer_uname
from tests.support.machine.twinprograms import with_note

# sub rsp, 512; mov rdi, rsp; uname; write(1, rdi+260, 16); exit with what uname returned
PROGRAM = bytes.fromhex(
    "4881ec00020000 4889e7 b83f0000000f05 89c3 488db704010000 bf01000000 ba10000000 b801000000"
    "0f05 89df b83c000000 0f05"
)
# the same with an address that can't be written: exit with 256 - EFAULT
FAILING = bytes.fromhex("31ff b83f0000000f05 89c7 b83c000000 0f05")


def run(program: bytes, directory: Path) -> subprocess.CompletedProcess[bytes]:
    path = directory / "program"
    path.write_bytes(program)
    path.chmod(0o755)
    return subprocess.run([path], capture_output=True, check=False)


@pytest.mark.parametrize("machine", ["aarch64", "i686", "loongarch64"])
def test_the_machine_is_another_one(tmp_path: Path, machine: str) -> None:
    extended = Extended(with_note(PROGRAM))

    assert answer_uname(extended, machine) == 1
    ended = run(extended.finish(), tmp_path)
    assert ended.returncode == 0
    assert ended.stdout == machine.encode().ljust(16, b"\0")


def test_an_error_of_the_kernel_stays(tmp_path: Path) -> None:
    extended = Extended(with_note(FAILING))
    answer_uname(extended, "aarch64")

    assert run(extended.finish(), tmp_path).returncode == 256 - 14


def test_a_program_without_the_call_has_none() -> None:
    assert answer_uname(Extended(with_note(b"\xc3")), "aarch64") == 0


def test_a_long_name_is_refused() -> None:
    with pytest.raises(MachineError, match="too long"):
        answer_uname(Extended(with_note(PROGRAM)), "x" * 16)


def test_a_foreign_program_cant_be_extended() -> None:
    program = build_elf(b"", bits=64, little_endian=True, machine=183, flags=0)

    with pytest.raises(MachineError, match="x86-64"):
        Extended(program)
