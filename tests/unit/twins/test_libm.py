"""Which functions round otherwise, and whether this CPU multiplies and adds at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.twins.libm import can_round_once, rounded_otherwise


@pytest.mark.parametrize(
    ("flags", "can"),
    [("fpu avx2 fma", True), ("fpu avx2 fma4", False), ("fpu fma", False), ("", False)],
)
def test_the_cpu(tmp_path: Path, flags: str, can: bool) -> None:
    (tmp_path / "cpuinfo").write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t:\n")

    assert can_round_once(tmp_path / "cpuinfo") is can


def test_an_unknown_cpu(tmp_path: Path) -> None:
    assert not can_round_once(tmp_path / "none")


@pytest.mark.parametrize(
    ("architecture", "is_glibc", "once", "refused"),
    [
        ("arm64", True, True, ["tanh"]),
        ("arm64", True, False, ["exp", "tanh"]),
        ("arm64", False, True, ["exp", "tanh"]),
        ("arm", True, True, ["exp", "tanh"]),
    ],
)
def test_what_rounds_otherwise(
    architecture: str, is_glibc: bool, once: bool, refused: list[str]
) -> None:
    names = rounded_otherwise(architecture, is_glibc=is_glibc, once=once)

    assert [each for each in ("exp", "sqrt", "tanh") if each in names] == refused
