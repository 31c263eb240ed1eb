"""Flags of a command: a table of records and the words of a command line -> typed values.

The grammar is that of docker's command line, to the message: `--flag=value`, `--flag value`, `-f value`,
`-fvalue`, `-qa` for two switches; a switch takes a value only behind `=`; `--` ends the flags. That is
not the standard library's grammar (there a switch takes no value and names may be cut short), and its
parser would cost a third of the time in which an unchanged build is done.

Source: documentation of Go's pflag.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Literal

from polyarch.errors import InputError
from polyarch.golang.csv import csv_fields
from polyarch.golang.strconv import parse_bool, parse_int, quote
from polyarch.golang.time import parse_duration
from polyarch.golang.units import ram_in_bytes
from polyarch.record import field, frozen
from polyarch.text.nearest import nearest

__all__ = ["Completes", "Flag", "Kind", "Options", "UsageError", "parse_flags"]


class UsageError(InputError):
    """Words that aren't what a command takes; shown with how to use it."""


class Kind(StrEnum):
    """What a flag takes. The values are what help says of it."""

    SWITCH = ""
    TEXT = "string"
    LIST = "stringArray"
    """May be repeated; each value as it is."""
    FIELDS = "strings"
    """May be repeated; each value is a line of comma separated ones."""
    FILTER = "filter"
    """May be repeated; each value is `name=value`."""
    NUMBER = "int"
    ULIMIT = "ulimit"
    """May be repeated; each value is `name=soft[:hard]`."""
    SIZE = "bytes"
    """Bytes, or a number with a unit that is a power of 1024."""
    DURATION = "duration"


Completes = Literal[
    "", "architectures", "builders", "directories", "emulators", "files", "images", "platforms", "registries",
    "shells", "steps"
]  # fmt: skip
"""What completion may offer for a word, "" for nothing."""

_REPEATED = frozenset({Kind.LIST, Kind.FIELDS, Kind.FILTER, Kind.ULIMIT})


@frozen
class Flag:
    """One flag. `default` is text as a user would type it; hidden flags work but help is silent."""

    name: str
    help: str = ""
    short: str = ""
    kind: Kind = Kind.TEXT
    default: str = ""
    hidden: bool = False
    bare: str = ""
    """What the flag means without a value, if it may be given so; one with a value is `--name=value` then."""
    check: Callable[[str], object] | None = None
    """Raises InputError for a value that the flag doesn't take; what its kind refuses isn't asked about."""
    choices: tuple[str, ...] = ()
    """What completion offers; other values are not refused here."""
    completes: Completes = ""
    """What completion offers instead."""

    @property
    def title(self) -> str:
        """The flag as messages name it: `-t, --tag`."""
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"

    @property
    def takes_word(self) -> bool:
        """Whether the word behind it is its value."""
        return self.kind is not Kind.SWITCH and not self.bare


@frozen
class Options:
    """The flags and arguments of one call, after they were checked.

    Each getter takes the name of a flag that the command has; another name is a KeyError.
    """

    arguments: tuple[str, ...]
    _flags: Mapping[str, Flag] = field(repr=False)
    _values: Mapping[str, tuple[str, ...]]

    def given(self, name: str) -> bool:
        """Whether the flag was on the command line."""
        return self._flags[name].name in self._values

    def text(self, name: str) -> str:
        """The value of a flag: the last one given, or its default."""
        flag = self._flags[name]
        return self._values.get(name, (flag.default,))[-1]

    def is_set(self, name: str) -> bool:
        """Whether a switch is on."""
        return parse_bool(self.text(name) or "false")

    def values(self, name: str) -> tuple[str, ...]:
        """All values of a flag that may be repeated, in their order."""
        flag = self._flags[name]
        given = self._values.get(name, (flag.default,) if flag.default else ())
        if flag.kind is not Kind.FIELDS:
            return given
        return tuple(each for value in given if value for each in csv_fields(value))

    def number(self, name: str) -> int:
        """The value of a flag that takes a number."""
        return parse_int(self.text(name) or "0")

    def size(self, name: str) -> int:
        """The value of a flag that takes a size, in bytes."""
        return ram_in_bytes(self.text(name) or "0")

    def with_others(self, others: Options, named: Mapping[str, str]) -> Options:
        """Return these flags with those of another call of the command before them, and values by name before both."""
        values = {**self._values, **others._values, **{name: (v,) for name, v in named.items()}}
        return Options(arguments=self.arguments, _flags=self._flags, _values=values)

    def seconds(self, name: str) -> float:
        """The value of a flag that takes a duration."""
        return parse_duration(self.text(name) or "0") / 1e9


def parse_flags(flags: Iterable[Flag], words: Sequence[str], *, mixed: bool = True) -> Options:
    """Sort the words of a command line into flags and arguments.

    With `mixed` false, the first argument ends the flags: what follows belongs to another program.
    Raises UsageError for words that aren't flags of the command, InputError for values.
    """
    parser = _Parser(flags, words, mixed=mixed)
    parser.run()
    return Options(
        arguments=tuple(parser.arguments),
        _flags=parser.flags,
        _values={name: tuple(values) for name, values in parser.values.items()},
    )


class _Parser:
    def __init__(self, flags: Iterable[Flag], words: Sequence[str], *, mixed: bool) -> None:
        self.flags = {flag.name: flag for flag in flags}
        self.values: dict[str, list[str]] = {}
        self.arguments: list[str] = []
        self._shorts = {flag.short: flag for flag in self.flags.values() if flag.short}
        self._words = words
        self._next = 0
        self._mixed = mixed

    def run(self) -> None:
        while self._next < len(self._words):
            word = self._words[self._next]
            self._next += 1
            if word == "--":
                break
            if word.startswith("--"):
                self._long(word)
            elif word.startswith("-") and word != "-":
                self._short(word)
            else:
                self.arguments.append(word)
                if not self._mixed:
                    break
        self.arguments += self._words[self._next :]

    def _long(self, word: str) -> None:
        name, equals, value = word[2:].partition("=")
        if not name or name.startswith("-"):
            raise UsageError(f"bad flag syntax: {word}")
        flag = self.flags.get(name)
        if flag is None:
            raise UsageError(f"unknown flag: --{name}{self._near(name)}")
        if not equals:
            value = self._following(flag, f"--{name}")
        self._set(flag, value)

    def _near(self, name: str) -> str:
        near = nearest(name, (flag.name for flag in self.flags.values() if not flag.hidden))
        return f" (did you mean --{near}?)" if near else ""

    def _short(self, word: str) -> None:
        """Take `-abc`: switches in a row, the last of which may be a flag with a value."""
        rest = word[1:]
        while rest:
            letter, rest = rest[0], rest[1:]
            flag = self._shorts.get(letter)
            if flag is None:
                raise UsageError(f"unknown shorthand flag: {letter!r} in {word}")
            if rest.startswith("=") and len(rest) > 1:
                self._set(flag, rest[1:])
                return
            if flag.kind is not Kind.SWITCH and rest:
                self._set(flag, rest)
                return
            self._set(flag, self._following(flag, f"{letter!r} in {word}"))

    def _following(self, flag: Flag, title: str) -> str:
        if flag.kind is Kind.SWITCH:
            return "true"
        if flag.bare:
            return flag.bare
        if self._next == len(self._words):
            raise UsageError(f"flag needs an argument: {title}")
        self._next += 1
        return self._words[self._next - 1]

    def _set(self, flag: Flag, value: str) -> None:
        try:
            _check(flag, value)
        except InputError as error:
            raise InputError(
                f'invalid argument {quote(value)} for "{flag.title}" flag: {error}',
                hint=error.hint,
            ) from error
        if flag.kind in _REPEATED:
            self.values.setdefault(flag.name, []).append(value)
        else:
            self.values[flag.name] = [value]


def _check(flag: Flag, value: str) -> None:
    match flag.kind:
        case Kind.SWITCH:
            parse_bool(value)
        case Kind.NUMBER:
            parse_int(value)
        case Kind.DURATION:
            parse_duration(value)
        case Kind.SIZE:
            ram_in_bytes(value)
        case Kind.FILTER if value and "=" not in value:
            raise InputError("bad format of filter (expected name=value)")
        case Kind.FIELDS if value:
            csv_fields(value)
        case _:
            pass
    if flag.check is not None:
        flag.check(value)
