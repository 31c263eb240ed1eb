"""Leaves the cases and tables out where they aren't; what there was and what not is said at the end."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.beside import find_beside
from tools.conformance import find_cases

_CASES = find_beside("CONFORMANCE", "conformance", "tables")
_TABLES = _CASES / "tables" if _CASES else None

collect_ignore = [
    *(["test_tables.py"] if _TABLES is None else []),
    *(["test_images.py", "test_plans.py"] if find_cases() is None else []),
]


@pytest.fixture(scope="session")
def tables() -> Path:
    """The directory of the tables."""
    assert _TABLES is not None
    return _TABLES
