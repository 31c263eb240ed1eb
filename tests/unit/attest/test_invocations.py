"""Unchanged builds attest the run that made them."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.attest.invocations import Invocation, Invocations
from polyarch.store.database import Database

FIRST = Invocation(
    id="first", started=1_700_000_000_500_000_000, finished=1_700_000_001_000_000_000
)
SECOND = Invocation(
    id="second", started=1_700_000_009_000_000_000, finished=1_700_000_010_000_000_000
)


@pytest.fixture
def invocations(tmp_path: Path) -> Invocations:
    return Invocations(Database(tmp_path / "db"))


def test_a_cached_build_attests_the_first_run(invocations: Invocations) -> None:
    first = invocations.settle([b"a", b"b"], FIRST, is_cached=False, epoch=None)
    again = invocations.settle([b"a", b"b"], SECOND, is_cached=True, epoch=None)
    other = invocations.settle([b"a", b"c"], SECOND, is_cached=True, epoch=None)

    assert (first, again, other) == (FIRST, FIRST, SECOND)


def test_a_build_in_which_something_ran_is_a_run_of_its_own(invocations: Invocations) -> None:
    invocations.settle([b"a"], FIRST, is_cached=False, epoch=None)

    assert invocations.settle([b"a"], SECOND, is_cached=False, epoch=None) == SECOND
    assert invocations.settle([b"a"], FIRST, is_cached=True, epoch=None) == SECOND


def test_with_an_epoch_it_follows_from_the_content(
    invocations: Invocations, tmp_path: Path
) -> None:
    elsewhere = Invocations(Database(tmp_path / "other"))

    one = invocations.settle([b"a"], FIRST, is_cached=False, epoch=1_600_000_000)
    other = elsewhere.settle([b"a"], SECOND, is_cached=False, epoch=1_600_000_000)

    assert one == other
    assert len(one.id) == 25
    assert (one.started_on, one.finished_on) == ("2020-09-13T12:26:40Z", "2020-09-13T12:26:40Z")
    assert elsewhere.settle([b"b"], FIRST, is_cached=False, epoch=1_600_000_000).id != one.id


def test_times_are_written_as_go_writes_them() -> None:
    assert (FIRST.started_on, FIRST.finished_on) == (
        "2023-11-14T22:13:20.5Z",
        "2023-11-14T22:13:21Z",
    )
