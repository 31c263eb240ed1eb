"""The page of attacks: it names tests that exist, and none of the attacks is left out."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
ATTACKS = ROOT / "tests/attacks"
PAGE = (ROOT / "docs/security.md").read_text()
NAMED = re.findall(r"`((?:tests/[\w/]+/)?test_\w+\.py)(?:::(\w+))?`", PAGE)


def test_every_test_that_is_named_exists() -> None:
    assert NAMED
    for path, function in NAMED:
        file = ROOT / path if "/" in path else ATTACKS / path
        assert file.is_file(), path
        assert not function or f"def {function}(" in file.read_text(), (path, function)


def test_every_attack_is_named() -> None:
    named = {path for path, _ in NAMED}

    assert {path.name for path in ATTACKS.glob("test_*.py")} <= named


def test_numbers_of_the_tests_are_on_the_page() -> None:
    """What a test says that it is of, the page says, too."""
    for path in ATTACKS.glob("test_*.py"):
        docstring = path.read_text().split('"""')[1]
        for number in re.findall(r"(?:CVE-\d{4}-\d+|GHSA(?:-\w{4}){3})", docstring):
            assert number in PAGE, (path.name, number)
