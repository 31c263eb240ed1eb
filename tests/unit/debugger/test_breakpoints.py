"""Breakpoints: which steps they stand for, and what editors are told."""

from __future__ import annotations

from polyarch.debugger.breakpoints import Breakpoint, Breakpoints
from polyarch.debugger.node import Node
from polyarch.graph.location import Location, SourceText

PATHS = {"Dockerfile": "/work/Dockerfile"}
SOURCE = SourceText(name="Dockerfile", text="")


def step(start: int, end: int) -> Node:
    place = Location(source=SOURCE, start=start, end=end)
    return Node(key=f"{start}-{end}", name="", location=place)


def test_they_stand_for_the_steps_of_their_lines_or_have_failed() -> None:
    told: list[Breakpoint] = []
    breakpoints = Breakpoints(told.append)
    breakpoints.set("/work/Dockerfile", [3, 9])

    found = [breakpoints.resolve([step(1, 1), step(2, 4)], PATHS) for _ in range(2)]

    assert found == [{"2-4": 1}, {"2-4": 1}]
    assert [each.told() for each in told] == [
        {
            "id": 1,
            "verified": True,
            "source": {"name": "Dockerfile", "path": "/work/Dockerfile"},
            "line": 2,
            "endLine": 4,
        },
        {
            "id": 2,
            "verified": False,
            "source": {"name": "Dockerfile", "path": "/work/Dockerfile"},
            "line": 9,
            "endLine": 9,
            "reason": "failed",
        },
    ]


def test_those_that_are_set_again_stay_what_they_were() -> None:
    breakpoints = Breakpoints(lambda _: None)
    breakpoints.set("/work/Dockerfile", [3, 9])
    breakpoints.resolve([step(2, 4)], PATHS)

    again = breakpoints.set("/work/Dockerfile", [2, 12])

    assert [(each.id, each.line, each.verified) for each in again] == [(1, 2, True), (3, 12, False)]
    assert breakpoints.resolve([step(2, 4), step(9, 9)], PATHS) == {"2-4": 1}


def test_names_of_files_are_met_in_any_case() -> None:
    breakpoints = Breakpoints(lambda _: None)
    breakpoints.set("/Work/dockerfile", [2])

    assert breakpoints.resolve([step(2, 2)], PATHS) == {"2-2": 1}
