"""Leaves the tables out where they aren't, and says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools.beside import find_beside

_CASES = find_beside("CONFORMANCE", "conformance", "tables")
_TABLES = _CASES / "tables" if _CASES else None

collect_ignore = ["test_tables.py"] if _TABLES is None else []


@pytest.fixture(scope="session")
def tables() -> Path:
    """The folder of the tables."""
    assert _TABLES is not None
    return _TABLES


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say that the tables were not there."""
    if _TABLES is None:
        terminalreporter.write_line(
            "tests/conformance: the tables were not run, as there is no folder"
            " shared/conformance/tables beside the project, and CONFORMANCE names none"
        )
