from __future__ import annotations

import json

import pytest

from polyarch.cli.doctor.report import as_json, as_text
from polyarch.doctor.check import Check, Grade, Report

GOOD = Check(name="kernel", grade=Grade.OK, text="Linux 6")
POOR = Check(name="overlayfs", grade=Grade.WARN, text="copies", fix="sudo modprobe overlay")
BAD = Check(name="runtime", grade=Grade.FAIL, text="none works", fix="sudo apt-get install runc")


def test_text() -> None:
    assert as_text(Report(checks=(GOOD, POOR, BAD), is_sound=True)) == (
        "[ok]   kernel     Linux 6\n"
        "[warn] overlayfs  copies\n"
        "                  -> sudo modprobe overlay\n"
        "[fail] runtime    none works\n"
        "                  -> sudo apt-get install runc\n"
        "\n"
        "not all right: runtime\n"
    )


@pytest.mark.parametrize(
    ("checks", "healthy", "verdict"),
    [
        ((GOOD,), True, "all right"),
        ((GOOD, POOR), True, "all right, but for: overlayfs"),
        ((BAD, BAD, POOR), False, "not all right: runtime"),
    ],
)
def test_verdict(checks: tuple[Check, ...], healthy: bool, verdict: str) -> None:
    report = Report(checks=checks, is_sound=None)

    assert report.is_healthy is healthy
    assert as_text(report).splitlines()[-1] == verdict


def test_json() -> None:
    assert json.loads(as_json(Report(checks=(POOR,), is_sound=False))) == {
        "healthy": True,
        "sound": False,
        "checks": [
            {
                "name": "overlayfs",
                "status": "warn",
                "text": "copies",
                "fix": "sudo modprobe overlay",
            }
        ],
    }
