from __future__ import annotations

import pytest

from polyarch.cli.display.colours import Colours, colours


def test_defaults() -> None:
    assert colours({}) == Colours(
        run="\x1b[34m", cancel="\x1b[33m", error="\x1b[31m", warning="\x1b[33m"
    )


def test_all_roles_by_name_and_numbers() -> None:
    text = "run=light-blue:CANCEL=1,2,3:error=Default:warning=255,255,255"

    assert colours({"BUILDKIT_COLORS": text}) == Colours(
        run="\x1b[94m", cancel="\x1b[38;5;16m", error="\x1b[39m", warning="\x1b[38;5;231m"
    )


@pytest.mark.parametrize(
    "text",
    ["", "run", "run=pink", "run=1,2", "run=1,2,256", "run=a,b,c", "x=red", '"', "run=1,-2,3"],
)
def test_what_does_not_parse_is_passed_over(text: str) -> None:
    assert colours({"BUILDKIT_COLORS": text}) == Colours()


def test_no_color() -> None:
    assert colours({"NO_COLOR": "1", "BUILDKIT_COLORS": "run=red"}) == Colours(
        run="", cancel="", error="", warning=""
    )
