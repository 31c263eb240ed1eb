"""What ends a twin, and leaves a mark: this machine's perl, as it calls libm like any other."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from polyarch.emulation.extended import Extended
from polyarch.errors import MachineError
from polyarch.inotify import Openings
from polyarch.twins.elffile import ElfFile
from polyarch.twins.patch_refusals import (
    add_refusal,
    refuse_entries,
    refuse_imports,
    refuse_numbers,
)

Change = Callable[[Extended, ElfFile, int], None]


def patched(directory: Path, change: Change) -> Path:
    program = ElfFile(Path("/usr/bin/perl").read_bytes(), "perl")
    extended = Extended(program.data)
    (directory / "mark").touch()
    change(extended, program, add_refusal(extended, str(directory / "mark")))
    path = directory / "perl"
    path.write_bytes(extended.finish())
    path.chmod(0o755)
    return path


def test_a_function_that_is_refused_ends_the_program_and_leaves_a_mark(tmp_path: Path) -> None:
    perl = patched(
        tmp_path, lambda *each: refuse_imports(each[0], each[1], ["pow", "none"], each[2])
    )
    with Openings([tmp_path / "mark"]) as openings:
        other = subprocess.run([perl, "-e", "print exp 0"], capture_output=True, check=True)
        openings.read()
        assert (other.stdout, openings.counts) == (b"1", [0])

        ended = subprocess.run([perl, "-e", "print 2 ** .5"], capture_output=True, check=False)

    assert (ended.returncode, ended.stdout, openings.counts) == (126, b"", [1])
    assert ended.stderr == b"polyarch: this has no native twin, its step needs emulation\n"


def test_a_function_is_refused_for_some_numbers(tmp_path: Path) -> None:
    perl = patched(
        tmp_path,
        lambda *each: refuse_numbers(each[0], each[1].import_slot("umask"), range(18, 20), each[2]),
    )

    def ended(mask: int) -> int:
        return subprocess.run(
            [perl, "-e", f"umask {mask}"], capture_output=True, check=False
        ).returncode

    assert [ended(mask) for mask in (17, 18, 19, 20)] == [0, 126, 126, 0]


def test_a_table_must_have_what_is_refused(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match="no table with none"):
        patched(tmp_path, lambda *each: refuse_entries(each[0], [b"none"], each[2]))
