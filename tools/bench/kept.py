"""Figures of a table, kept in a file as they come, so that a run that was interrupted can go on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from tools.bench.rows import Row

__all__ = ["Figures"]


class Figures:
    """The CPU seconds of rows in several ways; those of a row whose step has changed don't count."""

    def __init__(self, path: Path, *, is_resumed: bool) -> None:
        self._path = path
        self._steps: dict[str, dict[str, float]] = {}
        if is_resumed and path.exists():
            self._steps = json.loads(path.read_text())

    def of(self, row: Row) -> Mapping[str, float]:
        """Return what is known of a row, way by way."""
        return self._steps.get(_key(row), {})

    def put(self, row: Row, way: str, seconds: float) -> None:
        """Keep a figure; what was kept before stays whole, whenever the run is killed."""
        self._steps.setdefault(_key(row), {})[way] = seconds
        self._path.parent.mkdir(exist_ok=True)
        written = self._path.with_suffix(".new")
        written.write_text(json.dumps(self._steps, indent=1))
        written.replace(self._path)


def _key(row: Row) -> str:
    return f"{row.base}: {row.script}"
