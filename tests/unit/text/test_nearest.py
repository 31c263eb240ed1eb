from __future__ import annotations

import pytest

from polyarch.text.nearest import suggestion


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
