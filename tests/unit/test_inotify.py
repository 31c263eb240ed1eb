"""Files that are opened are counted."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.errors import MachineError
from polyarch.inotify import Openings


def test_each_opening_counts_in_its_group(tmp_path: Path) -> None:
    one, two, other = (tmp_path / name for name in ("one", "two", "other"))
    for path in (one, two, other):
        path.touch()

    with Openings([one, two], [other]) as openings:
        for path in (one, one, other, two):
            path.read_bytes()
        openings.read()
        between = list(openings.counts)
        one.read_bytes()

    assert (between, openings.counts, openings.is_complete) == ([3, 1], [4, 1], True)


def test_what_is_missed_is_told(tmp_path: Path) -> None:
    limit = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    path = tmp_path / "file"
    path.touch()

    with Openings([path]) as openings:
        for _ in range(limit):
            path.read_bytes()

    assert not openings.is_complete


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with (
        pytest.raises(MachineError, match="which files are opened: No such file or directory"),
        Openings([tmp_path / "none"]),
    ):
        pass
