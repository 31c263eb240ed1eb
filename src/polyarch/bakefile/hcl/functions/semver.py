"""Versions and constraints of versions, as `semvercmp` has them.

Source: documentation and behaviour of Masterminds/semver, version 3.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import NamedTuple

from polyarch.pattern import pattern

__all__ = ["satisfies"]

_TAIL = r"(?:-([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
_VERSION = pattern(rf"v?(0|[1-9]\d*)(?:\.(0|[1-9]\d*))?(?:\.(0|[1-9]\d*))?{_TAIL}\Z", 256)
_PART = r"[0-9|xX*]+"
_WILD = rf"v?({_PART})(?:\.({_PART}))?(?:\.({_PART}))?{_TAIL}"
_OPERATOR = r"=>|=<|!=|>=|<=|~>|=|>|<|~|\^|"
_ONE = pattern(rf"\s*({_OPERATOR})\s*{_WILD}\s*")
_BETWEEN = pattern(rf"\s*({_WILD})\s+-\s+({_WILD})\s*")
_ANY = {"x", "X", "*", "", None}


class _Version(NamedTuple):
    major: int
    minor: int
    patch: int
    pre: str = ""

    def order(self) -> tuple[tuple[int, int, int], int, list[tuple[int, int, str]]]:
        parts = [
            (0, int(each), "") if each.isdigit() else (1, 0, each)
            for each in self.pre.split(".")
            if each
        ]
        return (self.major, self.minor, self.patch), 0 if self.pre else 1, parts


class _Constraint(NamedTuple):
    """`wild` tells how many parts of the version are given: 3 are all of them."""

    operator: str
    version: _Version
    given: int


def _version(text: str) -> _Version:
    match = _VERSION.match(text)
    if match is None:
        raise ValueError("invalid semantic version")
    pre = match[4] or ""
    if any(each.isdigit() and len(each) > 1 and each[0] == "0" for each in pre.split(".")):
        raise ValueError("version segment starts with 0")
    return _Version(int(match[1]), int(match[2] or 0), int(match[3] or 0), pre)


def _constraint(operator: str, parts: tuple[str | None, ...], pre: str) -> _Constraint:
    given = 0
    while given < 3 and parts[given] not in _ANY:
        given += 1
    numbers: list[int] = []
    for each in parts[:given]:
        if each is None or not each.isdigit():
            raise ValueError("constraint parser error")
        numbers.append(int(each))
    numbers += [0] * (3 - given)
    return _Constraint(operator, _Version(numbers[0], numbers[1], numbers[2], pre), given)


def _constraints(text: str) -> list[_Constraint]:
    found: list[_Constraint] = []
    position = 0
    while position < len(text) or not found:
        match = _ONE.match(text, position)
        if match is None:
            raise ValueError(f"improper constraint: {text}")
        found.append(_constraint(match[1], match.group(2, 3, 4), match[5] or ""))
        before, position = position, match.end()
        if position < len(text):
            is_apart = text[position - 1].isspace() or text[position] == ","
            if text[position] == ",":
                position += 1
            if not is_apart or position == before:
                raise ValueError(f"improper constraint: {text}")
    return found


def satisfies(version: str, constraint: str) -> bool:
    """Tell whether a version fits a constraint. Raises ValueError for texts that are none."""
    wanted = _version(version)

    def spelled(match: re.Match[str]) -> str:
        groups = match.groups()
        return f">= {groups[0]}, <= {groups[6]} "

    alternatives = [_constraints(each) for each in _BETWEEN.sub(spelled, constraint).split("||")]
    return any(_fits_all(wanted, each) for each in alternatives)


def _fits_all(version: _Version, constraints: list[_Constraint]) -> bool:
    if version.pre and not any(each.version.pre for each in constraints):
        return False
    return all(_RULES[each.operator](version, each) for each in constraints)


def _is_wild_equal(version: _Version, constraint: _Constraint) -> bool:
    return version[: constraint.given] == constraint.version[: constraint.given]


def _not_equal(version: _Version, constraint: _Constraint) -> bool:
    if constraint.given < 3:
        return not _is_wild_equal(version, constraint)
    return version.order() != constraint.version.order()


def _greater(version: _Version, constraint: _Constraint) -> bool:
    if constraint.given == 3:
        return version.order() > constraint.version.order()
    given = max(constraint.given, 1)
    return version[:given] > constraint.version[:given]


def _less(version: _Version, constraint: _Constraint) -> bool:
    return version.order() < constraint.version.order()


def _at_least(version: _Version, constraint: _Constraint) -> bool:
    return not _less(version, constraint)


def _at_most(version: _Version, constraint: _Constraint) -> bool:
    if constraint.given == 3:
        return version.order() <= constraint.version.order()
    # Without a patch level every one is meant, and what isn't given at all is 0.
    given = 1 if constraint.given == 1 else 2
    return version[:given] <= constraint.version[:given]


def _tilde(version: _Version, constraint: _Constraint) -> bool:
    if _less(version, constraint):
        return False
    if constraint.version[:3] == (0, 0, 0) and constraint.given in {0, 3}:
        return True
    given = 1 if constraint.given == 1 else 2
    return version[:given] == constraint.version[:given]


def _equal(version: _Version, constraint: _Constraint) -> bool:
    if constraint.given < 3:
        return _tilde(version, constraint)
    return version.order() == constraint.version.order()


def _caret(version: _Version, constraint: _Constraint) -> bool:
    if _less(version, constraint):
        return False
    wanted = constraint.version
    if wanted.major > 0 or constraint.given == 1:
        return version.major == wanted.major
    if version.major:
        return False
    if wanted.minor > 0 or constraint.given == 2:
        return version.minor == wanted.minor
    return not version.minor and version.patch == wanted.patch


_RULES: Mapping[str, Callable[[_Version, _Constraint], bool]] = {
    "": _equal,
    "=": _equal,
    "!=": _not_equal,
    ">": _greater,
    "<": _less,
    ">=": _at_least,
    "=>": _at_least,
    "<=": _at_most,
    "=<": _at_most,
    "~": _tilde,
    "~>": _tilde,
    "^": _caret,
}
