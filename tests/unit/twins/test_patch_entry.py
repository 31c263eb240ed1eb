"""The beginning of a twin; what it does in place of a foreign program is in the integration tests."""

from __future__ import annotations

import struct
import subprocess
from pathlib import Path

import pytest

from polyarch.emulation.extended import Extended
from polyarch.errors import MachineError
from polyarch.twins.patch_entry import Known, begin_loader, begin_program
from tests.support.machine.twinprograms import with_note

# mov rdi, [rsp]; mov eax, 60; syscall: exits with the number of its arguments
COUNT = bytes.fromhex("488b3c24 b83c000000 0f05")
KNOWN = Known(size=4096, offset=100, content=b"build ID")


def status(program: bytes, directory: Path, *arguments: str) -> int:
    path = directory / "program"
    path.write_bytes(program)
    path.chmod(0o755)
    environ = {"LD_PRELOAD": "x", "QEMU_CPU": "max"}
    return subprocess.run([path, *arguments], env=environ, check=False).returncode


def test_a_program_that_nobody_starts_for_another_one_is_as_it_was(tmp_path: Path) -> None:
    static, dynamic, loader = (Extended(with_note(COUNT)) for _ in range(3))
    begin_program(static, [KNOWN], emulator="/none")
    begin_program(dynamic, [KNOWN])
    begin_loader(loader, "/none")

    for each in (static, dynamic, loader):
        assert status(each.finish(), tmp_path, "one", "two") == 3


def test_the_table_lies_before_the_entry() -> None:
    extended = Extended(with_note(COUNT))
    begin_program(extended, [KNOWN, Known(size=7, offset=0, content=b"", path="/twin")])
    program = extended.finish()
    made = Extended(program)
    added = made.segments(1)[-1]
    entry = added[2] + made.entry - added[3]

    count, distance = struct.unpack_from("<QQ", program, entry - 16)

    table = entry - distance
    assert count == 2
    first, second = (struct.unpack_from("<QII24sII", program, table + at) for at in (0, 48))
    assert first == (4096, 100, 8, b"build ID".ljust(24, b"\0"), 0, 0)
    assert second[:4] == (7, 0, 0, bytes(24))
    assert program[table + 48 + second[4] :].startswith(b"/twin\0")


def test_scripts_lie_behind_the_table() -> None:
    extended = Extended(with_note(COUNT))
    known = [
        Known(size=7, offset=0, content=b"", path="/twin"),
        Known(size=8, offset=0, content=b"", scripts={"/a": 5, "/bc": 6}),
        Known(size=9, offset=0, content=b"", needs_goarch=True),
    ]
    begin_program(extended, known)
    program = extended.finish()
    made = Extended(program)
    table = made.segments(1)[-1][2]

    needs = [struct.unpack_from("<I", program, table + at + 44)[0] for at in (0, 48, 96)]

    assert (needs[0], needs[2]) == (0, 1)
    listed = struct.pack("<Q", 5) + b"/a\0" + struct.pack("<Q", 6) + b"/bc\0" + bytes(9)
    assert program.startswith(listed, table + 48 + needs[1])


def test_files_that_must_not_be_there_lie_behind_the_table() -> None:
    extended = Extended(with_note(COUNT))
    begin_program(extended, [Known(size=7, offset=0, content=b"", unless=("/a", "/bc"))])
    program = extended.finish()
    table = Extended(program).segments(1)[-1][2]

    (needs,) = struct.unpack_from("<I", program, table + 44)

    assert needs >> 31 == 1
    assert program.startswith(b"/a\0/bc\0\0", table + (needs & 0x7FFFFFFF))


def test_an_identifier_that_is_too_long() -> None:
    with pytest.raises(MachineError, match="24 bytes"):
        begin_program(Extended(with_note(COUNT)), [Known(size=1, offset=1, content=b"x" * 25)])
