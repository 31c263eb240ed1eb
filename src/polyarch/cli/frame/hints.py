"""What may have been meant by a value that a flag doesn't know."""

from __future__ import annotations

from collections.abc import Iterable

from polyarch.text.nearest import nearest

__all__ = ["hint_for"]


def hint_for(wrong: str, choices: Iterable[str]) -> str:
    """Return what to do next: the nearest choice as a question, or all of them."""
    known = sorted(choices)
    if near := nearest(wrong, known):
        return f"did you mean {near}?"
    return "use one of " + ", ".join(known)
