"""Builds others' Dockerfiles; the images have to be BuildKit's, as they were recorded.

Here it is a twentieth of the cases, every twentieth of each corpus; `make conformance` builds all of them. One
test for all, since they share a registry and a server on fixed ports, and go side by side by themselves.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tools.conformance import compare, find_cases, load_excuses, tally, unexcused

pytestmark = [pytest.mark.runtime, pytest.mark.root, pytest.mark.slow]

_PART = "1/20"


def test_images_are_those_of_buildkit(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    cases = find_cases()
    assert cases is not None
    excuses = load_excuses()
    jobs = max(2, len(os.sched_getaffinity(0)) // 2)

    verdicts = compare(
        cases, tmp_path / "verdicts.json", tmp_path / "store", "--shard", _PART, f"--jobs={jobs}"
    )

    record_property("conformance", tally(verdicts, excuses))
    assert len({verdict.corpus for verdict in verdicts}) == 6
    assert unexcused(verdicts, excuses) == {}
