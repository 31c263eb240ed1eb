"""When a native variant is fetched."""

from __future__ import annotations

import pytest

from polyarch.worker.emulated.worth import Fetching, fetching
from polyarch.worker.pace import Pace

MB = 1_000_000


@pytest.mark.parametrize(
    ("size", "known", "when"),
    [
        (30 * MB, None, Fetching.FIRST),
        (300 * MB, None, Fetching.BESIDE),
        (0, None, Fetching.FIRST),
        (30 * MB, 2.0, Fetching.NOT),
        (30 * MB, 20.0, Fetching.FIRST),
        (300 * MB, 20.0, Fetching.NOT),
        (300 * MB, 200.0, Fetching.FIRST),
        (0, 1.0, Fetching.NOT),
        (0, 10.0, Fetching.FIRST),
    ],
)
def test_cost_is_weighed_against_what_emulation_took(
    size: int, known: float | None, when: Fetching
) -> None:
    assert fetching(size, 10 * MB, known) is when


def test_a_slow_registry_makes_it_dearer() -> None:
    assert fetching(30 * MB, 1 * MB, None) is Fetching.BESIDE


def test_the_pace_is_that_of_what_was_fetched() -> None:
    pace = Pace()
    before = pace.bytes_a_second
    pace.note(MB, 0.001)  # too little to tell
    little = pace.bytes_a_second
    pace.note(49 * MB, 9.999)

    assert (before, little, pace.bytes_a_second) == (10e6, 10e6, 5e6)
