"""The reference of commands is what the program says of itself."""

from __future__ import annotations

from pathlib import Path

from tools.reference import reference

PAGE = Path(__file__).parents[3] / "docs/commands.md"


def test_the_page_is_what_the_tables_say() -> None:
    assert PAGE.read_text() == reference(), "run python -m tools.reference > docs/commands.md"


def test_each_command_has_its_part() -> None:
    page = reference()

    assert "## polyarch imagetools inspect\n" in page
    assert "| `-t, --tag` | stringArray |" in page
