"""Dockerfiles with what they mean, vertex by vertex, and the keys that their results are kept under.

A key that changes makes every user run the step again, so it changes only on purpose. Then write the graphs
anew with `python -m tools.graphs`, and read the difference.
"""

from __future__ import annotations

import difflib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from polyarch.dockerfile.syntax import mount, typed
from polyarch.dockerfile.syntax.instruction import Instruction
from tools.beside import PROJECT
from tools.graphs import CASES, COMMAND, graph_of

_ALL = sorted(CASES.iterdir())


@pytest.mark.parametrize("case", _ALL, ids=lambda case: str(case.name))
def test_graph_and_keys_are_as_written(case: Path) -> None:
    path = case / "graph.txt"
    written = path.read_text(encoding="utf-8") if path.exists() else ""
    got = graph_of(case)

    difference = "\n".join(
        difflib.unified_diff(
            written.splitlines(), got.splitlines(), "graph.txt", "now", lineterm=""
        )
    )
    again = f"`{COMMAND} {case.name}` writes it anew, if this is meant"
    assert got == written, f"{difference}\n{again}"


def test_graphs_depend_on_nothing_around_them(tmp_path: Path) -> None:
    program = "from tools.graphs import *; print(*(graph_of(each) for each in sorted(CASES.iterdir())), end='')"
    surroundings = {"PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "HOME": str(tmp_path), "LC_ALL": "C"}
    ended = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", program],
        cwd=tmp_path,
        env={**os.environ, **surroundings, "PYTHONPATH": f"{PROJECT}/src:{PROJECT}"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert ended.stdout == " ".join(graph_of(case) for case in _ALL)


def test_each_instruction_has_a_graph() -> None:
    written = "\n".join((case / "Dockerfile").read_text() for case in _ALL)
    words = {line.split(maxsplit=1)[0] for line in written.splitlines() if line.strip()}

    assert {kind.name for kind in _kinds(Instruction)} - {""} <= words


@pytest.mark.parametrize(
    "flag",
    [
        *(f"COPY.* --{name}" for name in typed._COPY_FLAGS),
        *(f"ADD.* --{name}" for name in typed._ADD_FLAGS),
        *(f"RUN.* --{name}" for name in typed._RUN_FLAGS),
        *(f"HEALTHCHECK.* --{name}" for name in typed._HEALTHCHECK_FLAGS),
        *(f"RUN --mount=.*type={name}" for name in mount._TYPES),
    ],
)
def test_each_flag_has_a_graph(flag: str) -> None:
    assert any(re.search(flag, (case / "Dockerfile").read_text()) for case in _ALL)


def _kinds(kind: type[Instruction]) -> set[type[Instruction]]:
    return {kind}.union(*map(_kinds, kind.__subclasses__()))
