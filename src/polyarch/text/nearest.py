"""What somebody may have meant by a word that isn't known: the nearest one that is.

Source: the suggestions of BuildKit's package `suggest`, which counts edits as Levenshtein does.
"""

from __future__ import annotations

from collections.abc import Iterable

__all__ = ["hint_for", "nearest", "suggestion"]

_NEAR = 3


def nearest(wrong: str, options: Iterable[str], *, fold_case: bool = False) -> str:
    """Return the nearest option, or "" if none is less than 3 edits away, or `wrong` is one.

    The first of equally near options is taken. `fold_case` compares without case and answers in the
    case of `wrong`.
    """
    found = ""
    limit = _NEAR
    sought = wrong.lower() if fold_case else wrong
    for option in options:
        candidate = option.lower() if fold_case else option
        if candidate == sought:
            return ""
        distance = _edits(sought, candidate, limit)
        if distance < limit:
            limit, found = distance, candidate
    if found and fold_case and wrong != wrong.lower() and wrong == wrong.upper():
        found = found.upper()
    return found


def suggestion(wrong: str, options: Iterable[str], *, fold_case: bool = False) -> str:
    """Return ` (did you mean X?)` for the nearest option, "" if there is none, as `nearest`."""
    found = nearest(wrong, options, fold_case=fold_case)
    return f" (did you mean {found}?)" if found else ""


def hint_for(wrong: str, choices: Iterable[str]) -> str:
    """Return what to do next about a value that isn't known: the nearest choice as a question, or all of them."""
    known = sorted(choices)
    if near := nearest(wrong, known):
        return f"did you mean {near}?"
    return "use one of " + ", ".join(known)


def _edits(one: str, other: str, limit: int) -> int:
    """Return the Levenshtein distance, or `limit` if it is that or more."""
    if abs(len(one) - len(other)) >= limit:
        return limit
    row = list(range(len(other) + 1))
    for index, char in enumerate(one, 1):
        previous, row[0] = row[0], index
        for column, against in enumerate(other, 1):
            cost = previous if char == against else 1 + min(previous, row[column], row[column - 1])
            previous, row[column] = row[column], cost
    return min(row[-1], limit)
