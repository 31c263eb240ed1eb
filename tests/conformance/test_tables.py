"""Asks the unit tables' questions; every answer has to be the expected one."""

from __future__ import annotations

import importlib.util
import re
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

# Each table here is asked in full: a function that the adapter lacks is a failure.
TABLES = {
    "dockerfile_parse": "adapter",
    "dockerfile_stages": "adapter",
    "elf_binfmt": "adapter_emulation",
    "git": "adapter_git",
    "ignore": "adapter",
    "outputs": "adapter_flags",
    "platforms": "adapter_images",
    "reference": "adapter_images",
    "shell": "adapter",
    "units": "adapter_flags",
}


def _load(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tabletest(tables: Path) -> Iterator[ModuleType]:
    """The program beside the tables; it interrupts a row that takes too long."""
    module = _load("tabletest", tables.parent / "tabletest.py")
    before = signal.signal(signal.SIGALRM, module._give_up)
    yield module
    signal.signal(signal.SIGALRM, before)


@pytest.mark.parametrize("table", TABLES)
def test_table_has_no_differing_row(table: str, tables: Path, tabletest: ModuleType) -> None:
    adapter = _load("tables_adapter", Path(__file__).with_name(f"{TABLES[table]}.py"))
    chosen = re.compile(f"^{table} ")

    outcomes = list(tabletest.run_tables(adapter, tables, chosen))

    assert outcomes
    assert [(row.number, row.difference) for row in outcomes if row.difference] == []
