"""How explanations are chosen and shown."""

from __future__ import annotations

import json

import pytest

from polyarch.cli.building.explained import as_json, chosen, explained_lines
from polyarch.digest import sha256
from polyarch.errors import InputError, NotFound
from polyarch.request.explanation import Cause, CauseKind, Explanation, Outcome
from polyarch.why.history import Explained, Project


def step(
    number: int, name: str, line: int, *causes: Cause, outcome: Outcome = Outcome.RAN
) -> Explanation:
    return Explanation(
        step=sha256(name.encode()),
        name=name,
        outcome=outcome,
        number=number,
        line=line,
        end_line=line + 1,
        causes=causes,
    )


GONE = Cause(kind=CauseKind.REMOVED, what="a")
COPY = step(5, "[1/3] COPY a /", 2, GONE)
MAKE = step(6, "[2/3] RUN make", 4, GONE, Cause(kind=CauseKind.REMOVED, what="b"))
LAST = step(7, "[3/3] RUN make install", 6, outcome=Outcome.CACHED)
STEPS = [COPY, MAKE, LAST]


def test_without_a_name_those_that_ran_are_chosen() -> None:
    assert chosen(STEPS, "") == [COPY, MAKE]


@pytest.mark.parametrize("wanted", ["#6", "4", "5", "Dockerfile:4", "RUN make", "[2/3] RUN make"])
def test_a_step_is_found_by_number_line_and_name(wanted: str) -> None:
    assert chosen(STEPS, wanted) == [MAKE]


def test_a_part_of_one_name_is_enough() -> None:
    assert chosen(STEPS, "install") == [LAST]


def test_the_same_line_of_two_platforms_is_two_steps() -> None:
    both = [step(1, "[linux/amd64 1/1] RUN a", 2), step(2, "[linux/arm64 1/1] RUN a", 2)]

    assert chosen(both, "RUN a") == both


def test_a_part_of_several_names_is_refused() -> None:
    with pytest.raises(InputError, match="several steps") as caught:
        chosen(STEPS, "RUN")
    assert "#7 [3/3] RUN make install (line 6)" in caught.value.hint


@pytest.mark.parametrize("wanted", ["#9", "99", "Dockerfile:99", "nothing"])
def test_what_is_not_there_is_said_with_what_is(wanted: str) -> None:
    with pytest.raises(NotFound, match="no step") as caught:
        chosen(STEPS, wanted)
    assert "#5 [1/3] COPY a / (line 2)" in caught.value.hint


def test_each_step_is_a_line_with_details_below() -> None:
    assert explained_lines(STEPS) == [
        "#5 [1/3] COPY a /: not cached: a is gone",
        "#6 [2/3] RUN make: not cached: a is gone",
        "    also: b is gone",
        "#7 [3/3] RUN make install: cached",
    ]


def test_a_step_that_failed_says_so() -> None:
    assert explained_lines([step(1, "RUN a", 1, GONE, outcome=Outcome.FAILED)]) == [
        "#1 RUN a (failed): not cached: a is gone"
    ]


def test_json_holds_causes_and_text() -> None:
    build = Explained(project=Project(context="/app"), ended=0.0, steps=tuple(STEPS))

    read = json.loads(as_json(build, [COPY]))

    assert (read["context"], read["ended"]) == ("/app", "1970-01-01T00:00:00Z")
    assert read["steps"][0]["causes"] == [
        {"kind": "removed", "what": "a", "old": "", "new": "", "step": ""}
    ]
    assert read["steps"][0]["text"] == "not cached: a is gone"
