"""`--filter` of `history ls`."""

from __future__ import annotations

import time

import pytest

from polyarch.cli.history.filter import parse_filters
from polyarch.errors import InputError
from polyarch.history.record import BuildError, BuildRecord

NOW = time.time()
OLD = BuildRecord(
    ref="old",
    created=NOW - 7200,
    completed=NOW - 7100,
    attributes={"vcs:source": "https://git.example/a"},
)
FAILED = BuildRecord(
    ref="failed", created=NOW - 60, completed=NOW - 50, error=BuildError(code=2, message="")
)
STOPPED = BuildRecord(
    ref="stopped", created=NOW - 40, completed=NOW - 39, error=BuildError(code=1, message="")
)
RUNNING = BuildRecord(ref="running", created=NOW - 5)
ALL = (OLD, FAILED, STOPPED, RUNNING)


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ((), "old failed stopped running"),
        (("ref=ed",), "failed stopped"),
        (("ref!=old",), "failed stopped running"),
        (("status=completed",), "old"),
        (("status=error",), "failed"),
        (("status=canceled",), "stopped"),
        (("status=running",), "running"),
        (("repository=git.example",), "old"),
        (("startedAt>1h",), "failed stopped running"),
        (("startedAt<=1h",), "old"),
        (("startedAt>2020-01-01T00:00:00Z",), "old failed stopped running"),
        (("completedAt<2020-01-01T00:00:00+02:00",), "running"),
        (("duration>5s",), "old failed"),
        (("duration<=1s", "status!=running"), "stopped"),
    ],
)  # fmt: skip
def test_which_builds_are_meant(filters: tuple[str, ...], found: str) -> None:
    wanted = parse_filters(filters)

    assert " ".join(record.ref for record in ALL if wanted(record)) == found


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("status", 'invalid filter "status"'),
        ("status>x", 'invalid separator for "status>x", expected = or !='),
        ("duration=1s", 'invalid separator for "duration=1s", expected <=, <, >= or >'),
        ("duration>long", "invalid duration long"),
        ("startedAt>noon", "invalid time noon"),
        ("label=x", 'unsupported filter "label=x"'),
    ],
)
def test_what_is_no_filter(text: str, message: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_filters([text])

    assert str(caught.value) == message
