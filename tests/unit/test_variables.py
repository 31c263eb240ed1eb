"""The variables that the program reads are those that people are told of."""

from __future__ import annotations

import re
from pathlib import Path

PROJECT = Path(__file__).parent.parent.parent


def test_each_variable_is_in_the_documents() -> None:
    told = set(
        re.findall(
            r"^\| `(POLYARCH_\w+)`", (PROJECT / "docs/variables.md").read_text(), re.MULTILINE
        )
    )
    read = set()
    for path in (PROJECT / "src").rglob("*.py"):
        read |= set(re.findall(r"\bPOLYARCH_[A-Z_]+[A-Z]\b", path.read_text()))

    assert told == read
