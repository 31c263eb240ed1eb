"""The drawing of the rooms in docs/architecture.md is the contract of the imports, and both have every room."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import polyarch

SOURCE = Path(polyarch.__file__).parent
ROOT = SOURCE.parents[1]


def contract() -> list[list[str]]:
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers = next(each["layers"] for each in contracts if "down" in each["name"])
    return [[room.strip().removeprefix("polyarch.") for room in each.split("|")] for each in layers]


def test_the_drawing_is_the_contract() -> None:
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    section = text.partition("\n## Rooms\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^    (\w+(?: \| \w+)*)", section, re.MULTILINE)

    assert [row.split(" | ") for row in rows] == contract()


def test_every_room_has_a_floor() -> None:
    packages = {each.parent.name for each in SOURCE.glob("*/__init__.py")}
    modules = {each.stem for each in SOURCE.glob("*.py")}

    assert packages | modules - {"__init__"} == {room for row in contract() for room in row}
