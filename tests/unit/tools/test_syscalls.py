"""The table of system call numbers is what its generator makes, and covers the profile."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from polyarch.runtime import syscall_numbers
from polyarch.runtime.seccomp import ALWAYS
from tools import syscalls

NAMES = [line.split()[0] for line in syscall_numbers.NUMBERS.strip().splitlines()]


def test_what_is_committed_is_what_is_made() -> None:
    assert f"\n{syscalls.table(NAMES)}" == syscall_numbers.NUMBERS


def test_every_call_of_the_profile_has_a_line() -> None:
    here = {name for name in ALWAYS if set(syscalls.numbers_of(name)) != {None}}

    assert here <= set(NAMES)
    assert set(ALWAYS) - here == {"riscv_hwprobe"}


def test_a_name_that_is_given_gets_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = Path(syscall_numbers.__file__)
    copy = tmp_path / "numbers.py"
    shutil.copy(module, copy)
    monkeypatch.setattr(syscall_numbers, "__file__", str(copy))
    monkeypatch.setattr("sys.argv", ["syscalls", "kexec_load"])

    syscalls.main()

    before, after = (path.read_text(encoding="utf-8").splitlines() for path in (module, copy))
    assert set(after) - set(before) == {"kexec_load 246 283 104 347"}
    assert set(before) - set(after) == set()
