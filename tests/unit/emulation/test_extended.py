"""Programs with a segment more."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from polyarch.emulation.extended import PT_LOAD, Extended
from polyarch.errors import MachineError
from tests.support.machine.emulators import fake_program
from tests.support.machine.twinprograms import with_note

# mov edi, 7; mov eax, 60; syscall
EXIT_7 = bytes.fromhex("bf07000000 b83c000000 0f05")
EXIT_0 = bytes.fromhex("31ff b83c000000 0f05")


def test_what_is_added_can_be_run_and_read(tmp_path: Path) -> None:
    extended = Extended(with_note(EXIT_0))
    extended.add(b"\0" * 5000)
    extended.entry = extended.add(EXIT_7)
    program = tmp_path / "program"
    program.write_bytes(extended.finish())
    program.chmod(0o755)

    assert subprocess.run([program], check=False).returncode == 7


def test_addresses_are_found_by_places_in_the_file() -> None:
    program = with_note(EXIT_0)
    extended = Extended(program)

    assert extended.address(program.index(EXIT_0)) == extended.entry
    assert extended.find_address(len(program)) is None
    with pytest.raises(MachineError, match="isn't loaded"):
        extended.address(len(program))


def test_bytes_are_replaced(tmp_path: Path) -> None:
    extended = Extended(with_note(EXIT_0 + EXIT_7))
    extended.write(extended.data.index(EXIT_0), b"\x90" * len(EXIT_0))
    program = tmp_path / "program"
    program.write_bytes(extended.finish())
    program.chmod(0o755)

    assert subprocess.run([program], check=False).returncode == 7


def test_the_segments_stay_in_order() -> None:
    extended = Extended(with_note(EXIT_0))
    extended.add(b"x")

    loads = Extended(extended.finish()).segments(PT_LOAD)

    assert [each[5] for each in loads] == [len(with_note(EXIT_0)), 1]
    assert loads[0][3] < loads[1][3]


@pytest.mark.parametrize(
    ("program", "message"),
    [
        (b"#!/bin/sh\n", "only programs for x86-64"),
        (with_note(EXIT_0, machine=183), "only programs for x86-64"),
        (with_note(EXIT_0)[:70], "cut short"),
    ],
)
def test_other_files_are_refused(program: bytes, message: str) -> None:
    with pytest.raises(MachineError, match=message):
        Extended(program)


def test_a_program_without_a_note_has_no_room() -> None:
    with pytest.raises(MachineError, match="no room"):
        Extended(fake_program(b"", architecture="amd64")).finish()


def test_much_is_too_much() -> None:
    with pytest.raises(MachineError, match="too much"):
        Extended(with_note(EXIT_0)).add(b"\0" * ((1 << 20) + 1))
