"""Tables that name what is loaded late: every name is there, and none of a room above the table's own."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

import pytest

import polyarch
from polyarch import late
from polyarch.cli.commands import COMMANDS
from polyarch.cli.frame.command import Command

SOURCE = Path(polyarch.__file__).parent
NAMED = re.compile(r"[a-z_]+(?:\.[a-z_]+)+:[A-Za-z]+\Z")


def named() -> list[tuple[str, str]]:
    """Return (module, what it names) for all tables but that of the commands, which leaves its room out."""
    found = []
    for path in sorted(SOURCE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "late" not in text:
            continue
        tree = ast.parse(text)
        module = ".".join(path.relative_to(SOURCE).with_suffix("").parts)
        texts = (node.value for node in ast.walk(tree) if isinstance(node, ast.Constant))
        found += [(module, text) for text in texts if isinstance(text, str) and NAMED.match(text)]
    return [(module, text) for module, text in found if module != "cli.commands"]


def floors() -> dict[str, int]:
    """Return the floor of each room, the lowest 0, as the contract of the imports has it."""
    settings = tomllib.loads((SOURCE.parents[1] / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    layers = next(each["layers"] for each in contracts if "down" in each["name"])
    return {
        room.strip().removeprefix("polyarch."): floor
        for floor, layer in enumerate(reversed(layers))
        for room in layer.split("|")
    }


NAMES = named()


def test_tables_are_found() -> None:
    assert {module for module, _ in NAMES} >= {
        "cli.display.display",
        "exporter.export",
        "snapshot.choose",
    }


@pytest.mark.parametrize(("module", "at"), NAMES)
def test_what_a_table_names_is_there_and_in_no_room_above(module: str, at: str) -> None:
    late.load(at)
    own, other = module.partition(".")[0], at.partition(".")[0]

    assert own == other or floors()[own] > floors()[other]


@pytest.mark.parametrize("at", [entry.at for entry in COMMANDS])
def test_every_command_is_there(at: str) -> None:
    assert isinstance(late.load(f"cli.{at}"), Command)


def test_what_is_installed_is_found_without_being_imported() -> None:
    assert late.is_there("pytest")
    assert not late.is_there("no_such_package_at_all")
