"""Policies of a build, as they are written and printed, and what several of them mean together."""

from __future__ import annotations

from polyarch.errors import InputError
from polyarch.golang.csv import csv_fields
from polyarch.golang.strconv import parse_bool, quote
from polyarch.record import frozen, replace

__all__ = ["Group", "Policy", "groups_of", "parse_policy", "policy_of"]

_LEVELS = {
    "panic": 0,
    "fatal": 1,
    "error": 2,
    "warn": 3,
    "warning": 3,
    "info": 4,
    "debug": 5,
    "trace": 6,
}
_LEVEL_NAMES = ("panic", "fatal", "error", "warning", "info", "debug", "trace")


@frozen
class Policy:
    """A policy; None is what isn't said."""

    files: tuple[str, ...] = ()
    reset: bool = False
    disabled: bool = False
    strict: bool | None = None
    level: int | None = None

    def plain(self) -> dict[str, object]:
        """Return what `--print` shows."""
        return {
            "Files": [{"Filename": each, "Data": None} for each in self.files] or None,
            "Reset": self.reset,
            "Disabled": self.disabled,
            "Strict": self.strict,
            "LogLevel": None if self.level is None else _LEVEL_NAMES[self.level],
        }


def parse_policy(text: str) -> Policy:
    """Read a line. Raises InputError."""
    return policy_of(csv_fields(text))


def policy_of(fields: list[str]) -> Policy:
    """Read fields such as `strict=true`. Raises InputError."""
    files: list[str] = []
    switches: dict[str, bool] = {}
    level: int | None = None
    for each in fields:
        name, equals, value = each.partition("=")
        name = name.strip().lower()
        if not equals or (name == "filename" and not value):
            raise InputError(f"invalid value {each}")
        if name == "filename":
            files.append(value)
        elif name in {"reset", "disabled", "strict"}:
            try:
                switches[name] = parse_bool(value)
            except InputError as error:
                raise InputError(f"invalid value {each}: {error}") from None
        elif name == "log-level":
            if value.lower() not in _LEVELS:
                raise InputError(f"invalid value {each}: not a valid logrus Level: {quote(value)}")
            level = _LEVELS[value.lower()]
        else:
            raise InputError(f"invalid value {each}")
    return Policy(
        files=tuple(files),
        reset=switches.get("reset", False),
        disabled=switches.get("disabled", False),
        strict=switches.get("strict"),
        level=level,
    )


@frozen
class Group:
    """Files of one policy; `level` is how much of its log is shown, None for the usual."""

    files: tuple[str, ...]
    level: int | None = None


def groups_of(own: Group | None, given: tuple[Policy, ...]) -> tuple[Group, ...]:
    """Return the policies that count: the build's `own` one, and those that are `given`. Raises InputError."""
    if any(each.disabled for each in given):
        if len(given) > 1 or given[0] != Policy(disabled=True):
            raise InputError("disabled policy cannot be combined with other policy flags")
        return ()
    found = [own] if own is not None else []
    waiting: int | None = None
    for each in given:
        if each.reset:
            found = []
        if each.files:
            level = waiting if each.level is None else each.level
            found.append(Group(files=each.files, level=level))
        elif not found:
            waiting = each.level
        elif each.level is not None:
            found[-1] = replace(found[-1], level=each.level)
    return tuple(found)
