from __future__ import annotations

import os
from pathlib import Path

from polyarch.runtime.feed import Feed


def test_all_of_a_file_is_copied_and_the_end_told(tmp_path: Path) -> None:
    data = os.urandom(300_000)
    (tmp_path / "file").write_bytes(data)
    reader, writer = os.pipe()

    with (
        (tmp_path / "file").open("rb") as source,
        Feed(source.fileno(), writer),
        open(reader, "rb") as copy,
    ):
        assert copy.read() == data


def test_a_silent_source_does_not_hold_up_the_end() -> None:
    source, silent = os.pipe()
    reader, writer = os.pipe()

    with Feed(source, writer):
        pass

    with open(reader, "rb") as copy:
        assert copy.read() == b""
    os.close(source)
    os.close(silent)


def test_a_reader_that_does_not_read_does_not_hold_up_the_end() -> None:
    reader, writer = os.pipe()

    with open("/dev/zero", "rb", buffering=0) as endless, Feed(endless.fileno(), writer):
        os.read(reader, 1)

    os.close(reader)


def test_a_reader_that_goes_ends_the_copying() -> None:
    reader, writer = os.pipe()
    os.close(reader)

    with open("/dev/zero", "rb", buffering=0) as endless, Feed(endless.fileno(), writer) as feed:
        feed._thread.join()
