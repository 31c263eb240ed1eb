from __future__ import annotations

import pytest

from polyarch.text.nearest import hint_for, suggestion


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ("typ", " (did you mean type?)"),
        ("source", ""),
        ("frob", " (did you mean from?)"),
        ("nothing-like-it", ""),
        ("", ""),
    ],
)
def test_suggestion(wrong: str, expected: str) -> None:
    assert suggestion(wrong, ("from", "source", "type")) == expected


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [("FRON", "FROM"), ("fron", "from"), ("Fron", "from"), ("COPY", "")],
)
def test_suggestion_keeps_the_case(wrong: str, expected: str) -> None:
    text = f" (did you mean {expected}?)" if expected else ""
    assert suggestion(wrong, ("copy", "from"), fold_case=True) == text


def test_the_nearest_choice_is_asked_for() -> None:
    assert hint_for("hots", ["default", "host", "none"]) == "did you mean host?"


def test_all_choices_are_named_where_none_is_near() -> None:
    assert hint_for("bridge", ["none", "host"]) == "use one of host, none"
