"""The events of a build, as BuildKit keeps them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.digest import Digest, sha256
from polyarch.errors import IntegrityError
from polyarch.history.status import events_of, packed, read_warning
from polyarch.progress import Event, LogEvent, StatusEvent, StepEvent, WarningEvent
from polyarch.wire import Message, field

ONE, TWO = sha256(b"1"), sha256(b"2")
EVENTS: list[Event] = [
    StepEvent(step=ONE, name="[1/2] RUN ü"),
    StepEvent(step=ONE, name="[1/2] RUN ü", inputs=(TWO,), started=1_700_000_000.25),
    LogEvent(step=ONE, stream=2, data=b"\xff\0\n", time=1_700_000_000.5),
    StatusEvent(step=ONE, id="blob", current=5, total=10, started=1.5, completed=2.0),
    WarningEvent(
        step=TWO,
        short="short",
        detail=("one", "two"),
        url="https://docs.example",
        line=3,
        last_line=5,
        filename="Dockerfile",
        source="FROM scratch\n",
        level=3,
    ),
    StepEvent(step=ONE, name="x", completed=1_700_000_001.0, cached=True, error="failed"),
]


def test_what_is_kept_is_read_again() -> None:
    data = b"".join(packed(event, now=1_700_000_000.75) for event in EVENTS)

    read = list(events_of(data))

    assert [event for _, event in read] == EVENTS
    moments = [moment for moment, _ in read]
    assert moments == [
        0.0,
        1_700_000_000.25,
        1_700_000_000.5,
        1_700_000_000.75,
        0.0,
        1_700_000_001.0,
    ]


def test_a_vertex_has_the_bytes_that_buildkit_writes() -> None:
    event = StepEvent(step=Digest("d"), name="n", started=1.5)

    # vertexes (1): digest (1), name (3), started (5) with seconds (1) and nanos (2)
    start = "0801" + "1080cab5ee01"
    vertex = "0a0164" + "1a016e" + "2a08" + start
    assert packed(event, now=0).hex() == "12000000" + "0a10" + vertex


@given(st.integers(min_value=0))
def test_a_kill_in_the_middle_costs_the_last_event_only(cut: int) -> None:
    pieces = [packed(event, now=0) for event in EVENTS]
    data = b"".join(pieces)[: cut % (sum(map(len, pieces)) + 1)]

    read = [event for _, event in events_of(data)]

    assert read == EVENTS[: len(read)]
    assert sum(map(len, pieces[: len(read) + 1])) >= len(data)


def test_bytes_that_are_no_events_are_an_error_of_ours() -> None:
    with pytest.raises(IntegrityError, match="a message"):
        list(events_of(b"\2\0\0\0\x0a\xff"))


def test_ranges_of_frontends_warnings_end_where_they_say() -> None:
    # A frontend tells of the lines of one instruction as one range; the end of it was passed over once.
    lines = field(1, field(1, 3)) + field(2, field(1, 7))

    warning = read_warning(Message(field(1, ONE) + field(3, "odd") + field(7, lines)))

    assert (warning.line, warning.last_line) == (3, 7)
