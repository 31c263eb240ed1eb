"""What could stand where the cursor is: the hidden command `__complete`, which shells and docker ask.

It takes the words so far, the last of which (perhaps empty) is to be completed, and prints a candidate a
line, a tab and what it means behind it, and at last `:` and a number that tells the shell what else to do.
That is the protocol that docker's command line speaks with its plugins; our scripts speak it, too.

All is read off the tables of commands and flags; what machines know is looked up where they have it.

Source: documentation of completions of the library that docker's command line is built with (cobra).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from enum import IntFlag

from polyarch.cli.commands import COMMANDS, GROUPS, Entry, find, load
from polyarch.cli.frame.command import Command, Context
from polyarch.cli.frame.flags import Completes, Flag, Kind
from polyarch.cli.helptext import GLOBAL_FLAGS
from polyarch.errors import PolyarchError
from polyarch.record import frozen

__all__ = ["Completion", "Directive", "complete", "run_completion"]

_HELP = Flag(name="help", short="h", kind=Kind.SWITCH, help="Show this help")
_VERSION = Flag(name="version", kind=Kind.SWITCH, help="Show the version")
_PLATFORMS = (
    "linux/amd64",
    "linux/amd64/v2",
    "linux/amd64/v3",
    "linux/arm64",
    "linux/arm/v7",
    "linux/arm/v6",
    "linux/386",
    "linux/ppc64le",
    "linux/s390x",
    "linux/riscv64",
    "linux/mips64le",
    "linux/loong64",
)


class Directive(IntFlag):
    """What the shell does with candidates, or in place of them."""

    NONE = 0
    """Complete files if there is no candidate."""
    NO_SPACE = 2
    NO_FILES = 4
    DIRECTORIES = 16


@frozen
class Completion:
    """Candidates (each with what it means, or ""), and what else to do."""

    candidates: tuple[tuple[str, str], ...] = ()
    directive: Directive = Directive.NO_FILES

    def text(self, *, described: bool = True) -> str:
        """Write it as the shell reads it."""
        lines = [
            f"{value}\t{meaning}" if meaning and described else value
            for value, meaning in self.candidates
        ]
        return "".join(f"{line}\n" for line in [*lines, f":{self.directive.value}"])


def run_completion(words: Sequence[str], context: Context, *, described: bool) -> int:
    """Print what `words` could go on with. An error is no candidate: the shell must not show it."""
    completion = Completion()
    with suppress(PolyarchError, OSError, ValueError):
        completion = complete(words, context.environ)
    context.stdout.write(completion.text(described=described))
    return 0


def complete(words: Sequence[str], environ: Mapping[str, str]) -> Completion:
    """Return what the last of `words` can become. Raises PolyarchError for what can't be looked up."""
    *before, word = words or ("",)
    before, awaiting = _skip_flags(before, (*GLOBAL_FLAGS, _HELP, _VERSION))
    if awaiting is not None:
        return _value(awaiting, word, "", environ)
    if before[:1] == ["help"]:
        before = before[1:]
    found = find(before)
    if len(before) == 1 and before[0] in GROUPS and not word.startswith("-"):
        return _matching(_member_names(before[0]), word)
    if found is None:
        return _command_or_flag(before, word)
    entry, count = found
    return _Line(load(entry), before[count:], environ).complete(word)


def _skip_flags(words: Sequence[str], flags: Iterable[Flag]) -> tuple[list[str], Flag | None]:
    """Return the words from the first that is no flag on; or the flag that the last one waits for."""
    known = {f"--{flag.name}": flag for flag in flags}
    known |= {f"-{flag.short}": flag for flag in flags if flag.short}
    rest = list(words)
    while rest and rest[0].startswith("-"):
        flag = known.get(rest.pop(0))
        if flag is not None and flag.takes_word:
            if not rest:
                return [], flag
            rest.pop(0)
    return rest, None


def _command_or_flag(before: Sequence[str], word: str) -> Completion:
    if before:
        return Completion()  # what stands there is no command
    if word.startswith("-"):
        return _matching(_flag_names((*GLOBAL_FLAGS, _HELP, _VERSION)), word)
    return _matching(_command_names(), word)


def _command_names() -> Iterator[tuple[str, str]]:
    shown: list[Entry] = [each for each in COMMANDS if " " not in each.name and not each.hidden]
    names = {entry.name: entry.summary for entry in shown} | GROUPS
    yield from sorted(names.items())


def _member_names(group: str) -> Iterator[tuple[str, str]]:
    for entry in COMMANDS:
        head, _, name = entry.name.partition(" ")
        if head == group and name and not entry.hidden:
            yield name, entry.summary


def _flag_names(flags: Iterable[Flag]) -> Iterator[tuple[str, str]]:
    yield from sorted((f"--{flag.name}", flag.help) for flag in flags if not flag.hidden)


def _matching(candidates: Iterable[tuple[str, str]], word: str) -> Completion:
    return Completion(candidates=tuple(each for each in candidates if each[0].startswith(word)))


class _Line:
    """The words of one command, up to the one that is completed."""

    def __init__(self, command: Command, words: Sequence[str], environ: Mapping[str, str]) -> None:
        self._command = command
        self._environ = environ
        self._flags = {flag.name: flag for flag in (_HELP, *GLOBAL_FLAGS, *command.flags)}
        self._shorts = {flag.short: flag for flag in self._flags.values() if flag.short}
        self._arguments = 0
        self._ended = False
        self._awaiting: Flag | None = None
        for word in words:
            self._take(word)

    def _is_argument(self, word: str) -> bool:
        return self._ended or not word.startswith("-") or word == "-"

    def _take(self, word: str) -> None:
        if self._awaiting is not None:
            self._awaiting = None
        elif self._is_argument(word):
            self._arguments += 1
            self._ended = self._ended or not self._command.mixed
        elif word == "--":
            self._ended = True
        elif "=" not in word:
            last = self._flags.get(word[2:]) if word[:2] == "--" else self._short(word)
            if last is not None and last.takes_word:
                self._awaiting = last

    def _short(self, word: str) -> Flag | None:
        """Return the flag that waits for a value behind a word like `-qt`."""
        for position, letter in enumerate(word[1:], start=2):
            flag = self._shorts.get(letter)
            if flag is None or flag.takes_word:
                return flag if position == len(word) else None
        return None

    def complete(self, word: str) -> Completion:
        if self._awaiting is not None:
            return _value(self._awaiting, word, "", self._environ)
        if not self._ended and word.startswith("-"):
            return self._flag(word)
        if self._ended and not self._command.mixed and self._arguments:
            return Completion(directive=Directive.NONE)
        most = self._command.most
        if most is not None and self._arguments >= most:
            return Completion()
        return _kind(self._command.completes, word, "", self._environ)

    def _flag(self, word: str) -> Completion:
        name, equals, value = word.partition("=")
        flag = self._flags.get(name[2:]) if word.startswith("--") else None
        if equals and flag is not None:
            return _value(flag, value, f"{name}=", self._environ)
        return _matching(_flag_names(self._flags.values()), word)


# --- values ---


def _value(flag: Flag, word: str, prefix: str, environ: Mapping[str, str]) -> Completion:
    """Complete the value of a flag; `prefix` stands before it in the same word."""
    if flag.kind is Kind.SWITCH:
        return _chosen(("true", "false"), word, prefix)
    if flag.choices:
        return _chosen(flag.choices, word, prefix)
    if flag.completes == "platforms":
        return _chosen(_PLATFORMS, word, prefix, is_list=flag.kind is not Kind.TEXT)
    return _kind(flag.completes, word, prefix, environ)


def _kind(kind: Completes, word: str, prefix: str, environ: Mapping[str, str]) -> Completion:
    if kind == "files":
        return Completion(directive=Directive.NONE)
    if kind == "directories":
        return Completion(directive=Directive.DIRECTORIES)
    if not kind:
        return Completion()
    from polyarch.cli.candidates import KINDS, last_steps  # noqa: PLC0415 most words are flags

    if kind == "steps":
        return _matching(last_steps(environ), word)
    look_up = KINDS.get(kind)
    if look_up is None:
        return Completion()
    return _chosen(look_up(environ), word, prefix, is_list=kind in {"architectures", "emulators"})


def _chosen(values: Iterable[str], word: str, prefix: str, *, is_list: bool = False) -> Completion:
    head = ""
    if is_list:
        head, comma, word = word.rpartition(",")
        head += comma
    taken = set(head.split(","))
    found = tuple(
        (f"{prefix}{head}{value}", "")
        for value in values
        if value.startswith(word) and value not in taken
    )
    return Completion(candidates=found)
