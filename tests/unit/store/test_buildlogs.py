"""Logs of steps, kept beside the build."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from polyarch.progress import Event, LogEvent
from polyarch.store import buildlogs
from polyarch.store.buildlogs import keeping_logs
from tests.support.fakes.events import START, Told


def keep(directory: Path, *events: Event, now: float = START) -> list[LogEvent]:
    """Return the log events that come out."""
    told: list[Event] = []
    with keeping_logs(directory, told.append, lambda: now) as sink:
        for event in events:
            sink(event)
    return [event for event in told if isinstance(event, LogEvent)]


def test_each_step_that_prints_has_a_file(tmp_path: Path) -> None:
    one, two, silent = Told("[linux/arm64 a 2/3] RUN x"), Told("pull"), Told("RUN silent")

    out = keep(
        tmp_path / "logs",
        *(one.step(), two.step(), silent.step()),
        *(one.log(b"a\n"), two.log(b"\xff"), one.log(b"b", stream=2), one.step(0.0, 1.0)),
    )

    (build,) = (tmp_path / "logs").iterdir()
    assert [Path(event.kept).name for event in out] == [
        "01-linux-arm64-a-2-3.log",
        "02-step.log",
        "01-linux-arm64-a-2-3.log",
    ]
    assert (build / "01-linux-arm64-a-2-3.log").read_bytes() == b"a\nb"
    assert (build / "02-step.log").read_bytes() == b"\xff"
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "logs").rglob("*.log")}
    assert (build.stat().st_mode & 0o777, modes) == (0o700, {0o600})


def test_a_build_in_which_nothing_is_printed_writes_nothing(tmp_path: Path) -> None:
    run = Told("[2/2] RUN x")

    keep(tmp_path / "logs", run.step(), run.step(0.0, 0.0, cached=True))

    assert not (tmp_path / "logs").exists()


def test_only_the_last_builds_are_kept(tmp_path: Path) -> None:
    run = Told("[2/2] RUN x")
    for number in range(23):
        keep(tmp_path, run.step(), run.log(b"%d" % number), now=START + number)

    kept = sorted(path.read_bytes() for path in tmp_path.rglob("*.log"))
    assert kept == sorted(b"%d" % number for number in range(3, 23))


def test_old_builds_are_not_kept(tmp_path: Path) -> None:
    old, run = tmp_path / "20200101T000000-abcdef", Told("[2/2] RUN x")
    old.mkdir()
    os.utime(old, (START - 15 * 86400, START - 15 * 86400))

    keep(tmp_path, run.step(), run.log(b"x"))

    assert not old.exists()


def test_a_log_ends_at_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(buildlogs, "_MOST_BYTES", 10)
    run = Told("[2/2] RUN x")

    keep(tmp_path, run.step(), run.log(b"123456"), run.log(b"789012"), run.log(b"3"))

    (log,) = tmp_path.rglob("*.log")
    assert (
        log.read_bytes()
        == b"1234567890\n[the log ends here: those of the build have reached 256MiB]\n"
    )


def test_a_build_goes_on_without_a_log(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("in the way")
    run = Told("[2/2] RUN x")

    (out,) = keep(tmp_path / "logs", run.step(), run.log(b"x"))

    assert (out.data, out.kept) == (b"x", "")
