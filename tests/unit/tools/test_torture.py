"""The tormentor's own parts: what it counts, and its wrong clock."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from tools.beside import PROJECT
from tools.torture.__main__ import main
from tools.torture.scene import ALL, FEW, Lost
from tools.torture.tally import Tally


def test_whatever_is_raised_is_lost() -> None:
    tally = Tally()
    with tally.trying("this"):
        tally.count("event")
    with tally.trying("that"):
        raise Lost("a lock")

    assert tally.figures() == {"event": 1, "lost": 1}
    assert tally.lost[0].startswith("2 that at test_torture.py:")
    assert tally.lost[0].endswith("Lost: a lock")


def test_it_ends_with_its_time_or_when_much_is_lost() -> None:
    over, much = Tally(end=time.monotonic() - 1), Tally(lost=["x"] * 5)

    assert (over.is_enough, much.is_enough, Tally().is_enough) == (True, True, False)


def test_an_unknown_area(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["nonsense"])

    assert "there is no area nonsense: choose from kills, disks" in capsys.readouterr().err


def test_the_short_form_builds_some_of_the_long_ones_images() -> None:
    assert set(FEW) < set(ALL)


def test_the_clock_is_as_wrong_as_it_is_told_to_be() -> None:
    environ = {
        **os.environ,
        "PYTHONPATH": f"{PROJECT}/tools/torture/clock",
        "TORTURE_CLOCK": "-1e6",
    }
    words = (sys.executable, "-c", "import time; print(time.time(), time.time_ns())")
    said = subprocess.run(words, env=environ, capture_output=True, text=True, check=True).stdout
    seconds, nanoseconds = map(float, said.split())

    assert abs(time.time() - 1e6 - seconds) < 600
    assert abs(nanoseconds / 1e9 - seconds) < 600
