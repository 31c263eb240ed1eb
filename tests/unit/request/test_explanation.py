"""Explanations in words."""

from __future__ import annotations

import pytest

from polyarch.digest import sha256
from polyarch.request.explanation import Cause, CauseKind, Explanation, Outcome

EDIT = Cause(kind=CauseKind.CHANGED, what="src/main.c", old="sha256:1…", new="sha256:2…")


def explanation(*causes: Cause, through: tuple[str, ...] = ()) -> Explanation:
    return Explanation(
        step=sha256(b""),
        name="[build 3/4] RUN make",
        outcome=Outcome.RAN,
        causes=causes,
        through=through,
    )


@pytest.mark.parametrize(
    ("cause", "text"),
    [
        (EDIT, "src/main.c differs (sha256:1… → sha256:2…)"),
        (Cause(kind=CauseKind.NEW), "no earlier build of this step"),
        (
            Cause(kind=CauseKind.ARGUMENT, what="A", new="1"),
            "the build argument A differs: (unset) → 1",
        ),
        (Cause(kind=CauseKind.FORCED, what="--no-cache"), "--no-cache was given"),
        (Cause(kind=CauseKind.RENAMED, what="a", old="a", new="b"), "a was renamed to b"),
        (
            Cause(kind=CauseKind.CHANGED, what="a", old="1", new="2", step="COPY a /"),
            "COPY a / before it changed: a differs (1 → 2)",
        ),
        (
            Cause(kind=CauseKind.FORCED, what="--no-cache", step="RUN a"),
            "RUN a before it ran again: --no-cache was given",
        ),
    ],
)
def test_a_cause_is_a_line(cause: Cause, text: str) -> None:
    assert cause.text() == text


def test_what_is_long_is_cut() -> None:
    text = Cause(kind=CauseKind.VARIABLE, what="A", old="x" * 500, new="y").text()

    assert len(text) < 200
    assert text.endswith("… → y")


def test_what_has_lines_or_controls_is_one_line() -> None:
    text = Cause(kind=CauseKind.VARIABLE, what="A", old="x\ny", new="\x1b[31m").text()

    assert text == "the variable A differs: x y → �[31m"


def test_a_step_says_why_it_is_not_cached() -> None:
    assert explanation(EDIT).text().startswith("not cached: src/main.c differs")


def test_a_cached_step_says_so() -> None:
    assert explanation().text() == "cached"


def test_further_causes_and_the_way_are_details() -> None:
    found = explanation(EDIT, Cause(kind=CauseKind.REMOVED, what="b"), through=("RUN a", "RUN b"))

    assert found.details() == ("by way of RUN a, RUN b", "also: b is gone")


def test_the_instruction_is_the_name_without_its_number() -> None:
    assert explanation().text_of_instruction() == "RUN make"


def test_of_a_long_way_only_the_beginning_is_told() -> None:
    found = explanation(EDIT, through=("RUN a", "RUN b", "RUN c", "RUN d"))

    assert found.details() == ("by way of RUN a, RUN b and 2 more",)
