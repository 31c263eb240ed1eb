from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from polyarch.cli.frame.files import write_file
from polyarch.errors import MachineError
from polyarch.paths import is_device


def test_a_file_is_replaced_and_readable_by_all(tmp_path: Path) -> None:
    path = tmp_path / "id"
    path.write_text("a longer text that was there")
    path.chmod(0o600)

    write_file(str(path), "new")

    assert path.read_text() == "new"
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert os.listdir(tmp_path) == ["id"]


def test_a_pipe_stays_one(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    write_file(str(path), "text")

    assert os.read(reader, 99) == b"text"
    os.close(reader)
    assert stat.S_ISFIFO(path.stat().st_mode)


def test_standard_output_is_written_on(tmp_path: Path) -> None:
    with (tmp_path / "out").open("w+b") as out:
        kept = os.dup(1)
        os.dup2(out.fileno(), 1)
        try:
            os.write(1, b"before ")
            write_file("/dev/stdout", "text")
            os.write(1, b" after")
        finally:
            os.dup2(kept, 1)
            os.close(kept)

    assert (tmp_path / "out").read_text() == "before text after"
    assert Path("/dev/stdout").is_symlink()


def test_names_of_a_processs_own_are_devices() -> None:
    assert is_device(Path("/dev/stdout"))
    assert is_device(Path("/dev/null"))
    assert not is_device(Path("/dev"))
    assert not is_device(Path("/no/such/file"))


def test_a_directory_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"^cannot write to a directory$"):
        write_file(str(tmp_path), "text")
