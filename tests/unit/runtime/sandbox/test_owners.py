"""Who somebody is that starts a program with the setuid or setgid bit."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from polyarch.inroot import OWNER_XATTR
from polyarch.runtime.sandbox.credentials import Credentials, Ids
from polyarch.runtime.sandbox.owners import by_program

APP = Credentials(uids=Ids(1000, 1000, 1000, 1000), gids=Ids(1001, 1001, 1001, 1001), groups=(5,))
LEFT = Credentials(uids=Ids(0, 1000, 0, 1000), gids=Ids(0, 1001, 0, 1001))


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir("/proc/self/fd")
    path = tmp_path / "program"
    path.write_bytes(b"\x7fELF")
    os.setxattr(path, OWNER_XATTR, b"7:8")
    return path


def started(path: Path, mode: int, who: Credentials = APP) -> Credentials:
    path.chmod(mode)
    opened = os.open(path, os.O_PATH)
    try:
        return by_program(who, opened)
    finally:
        os.close(opened)


@pytest.mark.parametrize("mode", [0o755, 0o4644, 0o2745])
def test_a_program_without_the_bits_changes_nobody(program: Path, mode: int) -> None:
    assert started(program, mode) == APP


def test_setuid_and_setgid_give_the_owner(program: Path) -> None:
    assert started(program, 0o4755).uids == Ids(1000, 7, 7, 7)
    assert started(program, 0o2755).gids == Ids(1001, 8, 8, 8)


def test_who_has_left_an_id_cannot_take_it_back_afterwards(program: Path) -> None:
    after = started(program, 0o755, LEFT)

    assert (after.uids, after.gids) == (Ids(0, 1000, 1000, 1000), Ids(0, 1001, 1001, 1001))


def test_scripts_have_no_such_bits(program: Path) -> None:
    program.write_bytes(b"#!/bin/sh\n")

    assert started(program, 0o6755) == APP
