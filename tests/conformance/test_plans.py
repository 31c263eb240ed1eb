"""Asks bake what it would build; the plans have to be buildx's, as they were recorded.

Here it is a part of the cases, of many kinds; `make conformance` asks for all of them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tools.conformance import compare_plans, find_cases, load_excuses, tally, unexcused

pytestmark = pytest.mark.slow

_PART = "[b-m]s$"


def test_plans_are_those_of_buildx(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    cases = find_cases()
    assert cases is not None
    excuses = load_excuses()

    verdicts = compare_plans(cases, tmp_path / "verdicts.json", "-k", _PART)

    record_property("conformance", tally(verdicts, excuses))
    assert len(verdicts) >= 10
    assert unexcused(verdicts, excuses) == {}
