"""The emulator beside the twins."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from polyarch.errors import StoreError
from polyarch.platforms import linux
from polyarch.twins.lending import lend_cpuinfo, lend_emulator
from polyarch.twins.sets import TwinSet


def a_set(directory: Path) -> TwinSet:
    return TwinSet(number=1, directory=directory, platform=linux("arm64"), twins=())


def test_it_is_put_there_once_and_when_it_changes(tmp_path: Path) -> None:
    emulator = tmp_path / "qemu-aarch64"
    emulator.write_bytes(b"one")
    directory = tmp_path / "1"
    directory.mkdir()

    lend_emulator(a_set(directory), str(emulator))
    first = (directory / "qemu").stat()
    lend_emulator(a_set(directory), str(emulator))

    assert (directory / "qemu").stat().st_ino == first.st_ino
    assert first.st_mode & 0o777 == 0o755
    emulator.write_bytes(b"another")
    lend_emulator(a_set(directory), str(emulator))
    assert (directory / "qemu").read_bytes() == b"another"
    assert os.listdir(directory) == ["qemu"]


def test_what_it_shows_of_the_cpu_is_put_there_and_taken_back(tmp_path: Path) -> None:
    lend_cpuinfo(a_set(tmp_path), b"one")
    first = (tmp_path / "cpuinfo").stat()
    lend_cpuinfo(a_set(tmp_path), b"one")

    assert (tmp_path / "cpuinfo").stat().st_ino == first.st_ino
    assert first.st_mode & 0o777 == 0o444
    lend_cpuinfo(a_set(tmp_path), b"another")
    assert (tmp_path / "cpuinfo").read_bytes() == b"another"
    for _ in range(2):
        lend_cpuinfo(a_set(tmp_path), None)
    assert os.listdir(tmp_path) == []


def test_a_set_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="can't be written"):
        lend_emulator(a_set(tmp_path / "1"), "/bin/sh")
    with pytest.raises(StoreError, match="can't be written"):
        lend_cpuinfo(a_set(tmp_path / "1"), b"one")
