"""Every module says truly what it offers: `__all__` is sorted, real, and leaves nothing public out."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re

import pytest

import polyarch

MODULES = sorted(
    module.name
    for module in pkgutil.walk_packages(polyarch.__path__, "polyarch.")
    if not module.name.endswith("__main__")
)


def place(name: str) -> tuple[int, list[tuple[int, str]]]:
    """Constants, then classes, then functions; numbers in names count as numbers."""
    kind = 0 if name.isupper() and len(name) > 1 else 1 if name[0].isupper() else 2
    parts = re.findall(r"[0-9]+|[^0-9]+", name)
    return kind, [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def defined(name: str) -> set[str]:
    """The public functions and classes that are written in a module."""
    path = importlib.import_module(name).__file__
    assert path is not None
    with open(path, encoding="utf-8") as file:
        tree = ast.parse(file.read())
    written = (ast.FunctionDef, ast.ClassDef)
    return {
        node.name
        for node in tree.body
        if isinstance(node, written) and not node.name.startswith("_")
    }


def test_all_modules_are_looked_at() -> None:
    assert {"polyarch.record", "polyarch.cli.app", "polyarch.graph.op"} <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_all_is_sorted_true_and_complete(name: str) -> None:
    module = importlib.import_module(name)
    offered: list[str] = getattr(module, "__all__", [])

    assert offered == sorted(set(offered), key=place)
    assert [each for each in offered if not hasattr(module, each)] == []
    assert sorted(defined(name) - set(offered)) == []
