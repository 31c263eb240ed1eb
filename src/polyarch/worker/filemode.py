"""File modes as `--chmod` writes them: octal, or symbolic as chmod(1) has it."""

from __future__ import annotations

import re
from collections.abc import Callable

from polyarch.errors import InputError

__all__ = ["ModeChange", "parse_mode"]

ModeChange = Callable[[int, bool], int]
"""From a file's mode bits, and whether it is a directory, to its new mode bits."""

_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[rwxXst]*|[ugo]))+)\Z")
_ACTION = re.compile(r"([-+=])([rwxXst]+|[ugo]?)")
_SHIFTS = {"u": 6, "g": 3, "o": 0}
_SPECIAL = {"u": 0o4000, "g": 0o2000, "o": 0o1000}


def parse_mode(text: str) -> ModeChange:
    """Understand a mode. Raises InputError.

    Source: POSIX.1-2017, chmod, "Grammar for chmod"; no umask applies.
    """
    if re.fullmatch(r"[0-7]+", text) and int(text, 8) <= 0o7777:
        number = int(text, 8)
        return lambda _mode, _is_directory: number
    clauses = [_CLAUSE.match(clause) for clause in text.split(",")]
    if not text or not all(clauses):
        raise InputError(
            f"invalid chmod parameter: {text!r}",
            hint="give an octal mode up to 07777, or a symbolic one such as u=rwX,go=rX",
        )
    changes = [
        (clause[1] or "a", action[1], action[2])
        for clause in clauses
        if clause is not None
        for action in _ACTION.finditer(clause[2])
    ]

    def change(mode: int, is_directory: bool) -> int:
        for who, operator, what in changes:
            mode = _apply(mode, "ugo" if "a" in who else who, operator, what, is_directory)
        return mode

    return change


def _apply(mode: int, who: str, operator: str, what: str, is_directory: bool) -> int:
    bits = _bits(mode, who, what, is_directory)
    if operator == "+":
        return mode | bits
    if operator == "-":
        return mode & ~bits
    cleared = 0
    for each in who:
        cleared |= 0o7 << _SHIFTS[each]
        # chmod(1) leaves a directory's set-id bits alone unless they are named.
        cleared |= 0 if is_directory and each != "o" else _SPECIAL[each]
    return mode & ~cleared | bits


def _bits(mode: int, who: str, what: str, is_directory: bool) -> int:
    if what in _SHIFTS and what:
        triple = mode >> _SHIFTS[what] & 0o7
        return sum(triple << _SHIFTS[each] for each in who)
    triple = sum({"r": 4, "w": 2, "x": 1}.get(letter, 0) for letter in set(what))
    if "X" in what and (is_directory or mode & 0o111):
        triple |= 1
    bits = sum(triple << _SHIFTS[each] for each in who)
    if "s" in what:
        bits |= sum(_SPECIAL[each] for each in who if each in "ug")
    if "t" in what and "o" in who:
        bits |= 0o1000
    return bits
