"""Archives in their places: whole, or not there."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from polyarch.errors import StoreError
from polyarch.exporter.outfile import write_output
from polyarch.layer.tar import Sink

KILLED = """
import os, signal, sys
from polyarch.exporter.outfile import write_output
def write(sink):
    sink.write(b"begun")
    os.kill(os.getpid(), signal.SIGKILL)
write_output(sys.argv[1], write)
"""


def test_a_file_is_replaced_by_a_whole_one(tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old")
    (tmp_path / "link").symlink_to("old")

    def write(sink: Sink) -> None:
        sink.write(b"new")

    write_output(str(tmp_path / "link"), write)
    write_output(str(tmp_path / "new/file"), write)

    assert (tmp_path / "old").read_text() == "old"
    assert not (tmp_path / "link").is_symlink()
    assert (tmp_path / "link").read_text() == (tmp_path / "new/file").read_text() == "new"
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((tmp_path / "link").stat().st_mode) == 0o666 & ~umask
    assert sorted(os.listdir(tmp_path)) == ["link", "new", "old"]


def test_an_error_leaves_what_was_there(tmp_path: Path) -> None:
    def fail(sink: Sink) -> None:
        sink.write(b"begun")
        raise StoreError("no more")

    (tmp_path / "file").write_text("old")

    with pytest.raises(StoreError):
        write_output(str(tmp_path / "file"), fail)

    assert os.listdir(tmp_path) == ["file"]
    assert (tmp_path / "file").read_text() == "old"


def test_a_kill_leaves_nothing(tmp_path: Path) -> None:
    try:
        os.close(os.open(tmp_path, os.O_WRONLY | os.O_TMPFILE))
    except OSError:
        pytest.skip("files have names here")

    ended = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "file")], check=False)

    assert ended.returncode == -signal.SIGKILL
    assert os.listdir(tmp_path) == []
