r"""Patterns with many wildcards, matched without trying again: in time of path and pattern, whatever they are.

Python's regular expressions go back at each wildcard, so that a dozen of them can take years for one
path; Go's, by which ignore files are defined, never do. Here, as there, all places in the pattern that a
beginning of the path can lead to are followed at once. The places are the bits of one number, so that a
character of the path costs a few operations for all of them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence

from polyarch.record import mutable

__all__ = ["count_loops", "machine"]

_DIRECTORIES = ("(", ".", "*", "/", ")", "?")  # what two stars and a slash become
_ASSERTIONS = frozenset({"^", r"\A", r"\b", r"\B", r"\Z"})
_ANY = "."


@mutable
class _Places:
    """What may happen at the places of a pattern, each a bit; the last place is the end."""

    count: int = 0
    letters: dict[str, int]
    """Character -> the places that it leads on from."""
    steps: dict[str, int]
    """Expression for one character -> the places that it leads on from."""
    loops: dict[str, int]
    """Expression for one character -> the places where it may come as often as it likes."""
    skips: int = 0
    """Places that may be left without a character, to the next."""
    double_skips: int = 0
    """... and to the one behind the next."""
    assertions: dict[str, int]
    """Zero-width expression -> the places that may be left where it holds."""


def count_loops(pieces: Iterable[str]) -> int:
    """Return how many wildcards without a limit there are."""
    return sum(piece == "*" for piece in pieces)


def machine(pieces: Sequence[str]) -> Callable[[str], bool]:
    """Return what tells if all of a path matches; `pieces` are those of a translated expression."""
    places = _read(pieces)
    letters = places.letters
    steps, loops = _tests(places.steps), _tests(places.loops)
    masks: dict[str, tuple[int, int]] = {}
    end = 1 << places.count

    def matches(path: str) -> bool:
        alive = _at_rest(places, 1, path, 0)
        for position, char in enumerate(path, 1):
            if not alive:
                return False
            if char not in masks:
                masks[char] = letters.get(char, 0) | _mask(steps, char), _mask(loops, char)
            onward, staying = masks[char]
            alive = _at_rest(places, (alive & onward) << 1 | alive & staying, path, position)
        return bool(alive & end)

    return matches


_Tests = list[tuple[Callable[[str], object], int]]


def _tests(kinds: dict[str, int]) -> _Tests:
    return [
        (re.compile(expression, re.ASCII).fullmatch, bits) for expression, bits in kinds.items()
    ]


def _mask(tests: _Tests, char: str) -> int:
    found = 0
    for test, bits in tests:
        if test(char) is not None:
            found |= bits
    return found


def _read(pieces: Sequence[str]) -> _Places:
    places = _Places(letters={}, steps={}, loops={}, assertions={})
    position = 0
    # What was read since the last character: twice the same there is no more than once, so that no row
    # of places without a character is long.
    row: set[str] = set()
    while position < len(pieces):
        piece = pieces[position]
        if piece == "(":
            kind, size = "directories", len(_DIRECTORIES)
        elif pieces[position + 1 : position + 2] == ["*"]:
            kind, size = "loop", 2
        else:
            kind, size = piece, 1
        position += size
        if kind in row:
            continue
        if kind in _ASSERTIONS:
            row = {*row, kind} - {"directories"}
        else:
            row = {kind} if kind == "directories" else set()
        _add(places, piece, kind)
    return places


def _add(places: _Places, piece: str, kind: str) -> None:
    here = 1 << places.count
    places.count += 1
    if kind == "directories":
        # Nothing, or anything that ends with a slash: in at the second place, out with a slash.
        places.skips |= here
        places.double_skips |= here
        places.count += 1
        _note(places.loops, _ANY, here << 1)
        _note(places.letters, "/", here << 1)
    elif kind == "loop":
        places.skips |= here
        _note(places.loops, piece, here)
    elif kind in _ASSERTIONS:
        _note(places.assertions, piece, here)
    elif (char := piece.removeprefix("\\")) and len(char) == 1 and _is_letter(piece, char):
        _note(places.letters, char, here)
    else:
        _note(places.steps, piece, here)


def _is_letter(piece: str, char: str) -> bool:
    """Tell if a piece is one character and means itself."""
    return piece != _ANY and (piece == char or not (char.isascii() and char.isalnum()))


def _note(kinds: dict[str, int], key: str, bits: int) -> None:
    kinds[key] = kinds.get(key, 0) | bits


def _at_rest(places: _Places, alive: int, path: str, position: int) -> int:
    """Add the places that are reached without a character."""
    skips = places.skips
    for expression, bits in places.assertions.items():
        if alive and re.compile(expression, re.ASCII).match(path, position) is not None:
            skips |= bits
    while True:
        more = alive | (alive & skips) << 1 | (alive & places.double_skips) << 2
        if more == alive:
            return alive
        alive = more
