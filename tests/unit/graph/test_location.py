from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.graph.location import Location, SourceText

TEXT = "FROM a\nRUN b\nCOPY c d\nRUN e\nRUN f\nRUN g"


def excerpt(start: int, end: int, text: str = TEXT) -> list[str]:
    source = SourceText(name="Dockerfile", text=text)
    return Location(source=source, start=start, end=end).excerpt().split("\n")


def test_the_place_is_marked_between_its_neighbours() -> None:
    assert excerpt(3, 3) == [
        "Dockerfile:3",
        "--------------------",
        "   1 |     FROM a",
        "   2 |     RUN b",
        "   3 | >>> COPY c d",
        "   4 |     RUN e",
        "   5 |     RUN f",
        "--------------------",
        "",
    ]


@pytest.mark.parametrize(
    ("start", "end", "shown"),
    [
        (1, 1, ["1*", "2", "3"]),
        (6, 6, ["4", "5", "6*"]),
        (3, 4, ["2", "3*", "4*", "5"]),
        (2, 5, ["1", "2*", "3*", "4*", "5*", "6"]),
        (1, 6, ["1*", "2*", "3*", "4*", "5*", "6*"]),
        (5, 99, ["4", "5*", "6*"]),
        (0, 0, ["1", "2"]),
    ],
)
def test_which_lines_are_shown(start: int, end: int, shown: list[str]) -> None:
    lines = excerpt(start, end)[2:-2]

    assert [line[:4].strip() + "*" * (">>>" in line) for line in lines] == shown


def test_carriage_returns_are_not_shown() -> None:
    assert excerpt(1, 1, "FROM a\r\nRUN b\r")[2:-2] == ["   1 | >>> FROM a", "   2 |     RUN b"]


@given(
    lines=st.lists(st.text("RUN x", max_size=6), min_size=1, max_size=15),
    start=st.integers(1, 15),
    length=st.integers(0, 8),
)
def test_every_line_of_the_place_is_shown_and_marked(
    lines: list[str], start: int, length: int
) -> None:
    start = min(start, len(lines))
    end = min(start + length, len(lines))
    shown = excerpt(start, end, "\n".join(lines))[2:-2]

    marked = [line for line in shown if line[7:10] == ">>>"]
    assert [line[11:] for line in marked] == [line.rstrip("\r") for line in lines[start - 1 : end]]
    assert len(shown) <= max(5, end - start + 3)


def test_sources_are_not_shown_in_full() -> None:
    assert repr(SourceText(name="Dockerfile", text="secret")) == "SourceText(name='Dockerfile')"
