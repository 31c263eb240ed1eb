"""Ignore files: which files of a build context are sent.

Patterns are walked in order, and the last one that matches a path or a directory above it decides; those
with `!` bring paths back. The behaviour is that of moby/patternmatcher and, for whole contexts
(`ContextFilter`), of the walk of tonistiigi/fsutil. Those two disagree on some lists with
`!` (`**/*.md`, `!docs`): to the walk, a pattern matches below a directory only if it was looked at for the
directory, and it isn't if it could not have changed the answer there. What is sent is what the walk says.

Paths are relative to the root of the context, with slashes, and cleaned.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache

from polyarch.errors import InputError
from polyarch.golang.unicode import SPACE
from polyarch.record import frozen
from polyarch.text.glob import (
    BadPattern,
    Kind,
    Translation,
    check_syntax,
    pieces,
    translate,
)
from polyarch.text.globmachine import count_loops, machine

__all__ = ["ContextFilter", "Matcher", "Verdict", "clean_path", "exclusion", "read_patterns"]

_BOM = "\ufeff"
_MAX_LINE = 65535
_MAX_LOOPS = 2  # up to which Python's expressions, which go back at each of them, are faster
_WILDCARDS = frozenset("*[]?^\\")
_ROOTS = frozenset({".", "/"})
_EVERYTHING = frozenset({"*", "**", "**/*"})


def clean_path(path: str) -> str:
    """Return the shortest name of a path: no doubled slashes, no `.`, `..` resolved; `.` if empty."""
    is_rooted = path.startswith("/")
    parts: list[str] = []
    for part in path.split("/"):
        if part == ".." and parts and parts[-1] != "..":
            parts.pop()
        elif part not in {"", "."} and not (part == ".." and is_rooted):
            parts.append(part)
    cleaned = "/".join(parts)
    return f"/{cleaned}" if is_rooted else cleaned or "."


def read_patterns(text: str | bytes) -> list[str]:
    """Read an ignore file: its patterns, cleaned, those with `!` still with it.

    Bytes that aren't UTF-8 are kept as in names of files that `os.fsdecode` gives. Raises InputError
    for a line of more than 65535 bytes.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "surrogateescape")
    patterns: list[str] = []
    for line in text.removeprefix(_BOM).split("\n"):
        if len(line) > _MAX_LINE // 4 and len(line.encode("utf-8", "surrogateescape")) > _MAX_LINE:
            raise InputError(
                "bufio.Scanner: token too long",
                hint=f"A line of an ignore file has at most {_MAX_LINE} bytes.",
            )
        pattern = line.strip(SPACE)
        if line.startswith("#") or not pattern:
            continue
        mark = "!" if pattern.startswith("!") else ""
        pattern = pattern.removeprefix(mark).strip(SPACE)
        if pattern:
            pattern = clean_path(pattern)
            pattern = pattern.removeprefix("/") or "/"
        patterns.append(mark + pattern)
    return patterns


class _Pattern:
    """A pattern, compiled when it is first asked: one that is never asked may be wrong."""

    __slots__ = ("_matches", "is_exception", "text")

    def __init__(self, text: str, *, is_exception: bool) -> None:
        self.text = text
        self.is_exception = is_exception
        self._matches: Callable[[str], bool] | None = None

    def matches(self, path: str) -> bool:
        """Tell if the pattern matches the path itself. Raises BadPattern."""
        if self._matches is None:
            self._matches = _compiled(self.text)
        return self._matches(path)

    def matches_tree(self, path: str) -> bool:
        """Tell if the pattern matches the path or a directory above it. Raises BadPattern."""
        return self.matches(path) or any(
            self.matches(directory) for directory in _directories(path)
        )

    @property
    def fixed_part(self) -> str:
        """The pattern without a star or two at its end."""
        return self.text.removesuffix("/**").removesuffix("/*")


def _directories(path: str) -> Iterator[str]:
    """Yield the directories above a path, the highest first."""
    end = path.find("/", 1)
    while end >= 0:
        yield path[:end]
        end = path.find("/", end + 1)


@lru_cache(maxsize=1024)
def _compiled(text: str) -> Callable[[str], bool]:
    return _compile(translate(text))


def _compile(translation: Translation) -> Callable[[str], bool]:
    operand = translation.operand
    match translation.kind:
        case Kind.EXACT:
            return lambda path: path == operand
        case Kind.PREFIX:
            return lambda path: path.startswith(operand)
        case Kind.SUFFIX:
            name = operand[1:] if operand.startswith("/") else None
            return lambda path: path.endswith(operand) or path == name
        case Kind.REGEX:
            parts = pieces(operand)
            if count_loops(parts) > _MAX_LOOPS:
                return machine(parts)
            find = re.compile("".join(parts), re.ASCII).match
            return lambda path: find(path) is not None


class _AnyOf:
    """All patterns of a list without exceptions, asked at once."""

    __slots__ = ("exact", "machines", "prefixes", "regex", "suffixes")

    def __init__(self, patterns: Iterable[_Pattern]) -> None:
        translations = [translate(pattern.text) for pattern in patterns]
        operands = {
            kind: [item.operand for item in translations if item.kind is kind] for kind in Kind
        }
        suffixes = operands[Kind.SUFFIX]
        names = [suffix[1:] for suffix in suffixes if suffix.startswith("/")]
        self.exact = frozenset((*operands[Kind.EXACT], *names))
        self.prefixes = tuple(operands[Kind.PREFIX])
        self.suffixes = tuple(suffixes)
        regexes: dict[str, None] = {}
        self.machines: list[Callable[[str], bool]] = []
        for parts in map(pieces, operands[Kind.REGEX]):
            if count_loops(parts) > _MAX_LOOPS:
                self.machines.append(machine(parts))
            else:
                regexes["".join(parts)] = None
        self.regex = re.compile("|".join(regexes), re.ASCII).match if regexes else None

    def matches(self, path: str) -> bool:
        return (
            path in self.exact
            or path.endswith(self.suffixes)
            or path.startswith(self.prefixes)
            or (self.regex is not None and self.regex(path) is not None)
            or any(matches(path) for matches in self.machines)
        )


@frozen
class Verdict:
    """What is to become of a path; a directory's is asked for when its entries are judged."""

    ignored: bool
    matched: tuple[bool, ...] = ()
    """For each pattern, if it matched the path or a directory above; empty if nobody will ask."""


class Matcher:
    """The patterns of an ignore file, or of `--exclude` flags."""

    def __init__(self, patterns: Iterable[str]) -> None:
        """Check the patterns. Raises InputError for one that can't be understood."""
        self._patterns = tuple(_patterns(patterns))
        self.has_exceptions = any(pattern.is_exception for pattern in self._patterns)
        self._any_of = None if self.has_exceptions else _any_of(self._patterns)
        exceptions = [item.fixed_part for item in self._patterns if item.is_exception]
        self._has_wild_exceptions = any(not _WILDCARDS.isdisjoint(item) for item in exceptions)
        self._exceptions = tuple(f"{item}/" for item in exceptions)

    def __bool__(self) -> bool:
        """Tell if there is any pattern."""
        return bool(self._patterns)

    def ignores(self, path: str) -> bool:
        """Tell if a path is ignored, by itself or with a directory above it. The root never is.

        Raises InputError for a pattern that turns out not to be one.
        """
        if path == ".":
            return False
        if self._any_of is not None:
            any_of = self._any_of
            return any_of.matches(path) or any(
                any_of.matches(directory) for directory in _directories(path)
            )
        ignored = False
        for pattern in self._patterns:
            if pattern.is_exception == ignored and pattern.matches_tree(path):
                ignored = not ignored
        return ignored

    def covers(self, path: str) -> bool:
        """Tell if a path of an instruction is surely ignored: not if there are exceptions.

        Other than `ignores`, this asks about the root, too: it is if a pattern says so of all that is
        in it. Of an absolute path only patterns that match anything say so. Raises InputError as `ignores`.
        """
        if self.has_exceptions:
            return False
        if path in _ROOTS and all(pattern.text not in _EVERYTHING for pattern in self._patterns):
            return False
        # patternmatcher takes what is before the first slash of an absolute path for a directory.
        top = "" if path.startswith("/") else path
        return any(item.matches_tree(path) or item.matches(top) for item in self._patterns)

    def judge(self, path: str, parent: Verdict | None = None) -> Verdict:
        """Judge a path that a walk comes to, given the verdict on its directory (None at the top).

        Raises InputError for a pattern that turns out not to be one.
        """
        if self._any_of is not None:
            is_below = parent is not None and parent.ignored
            return _IGNORED if is_below or self._any_of.matches(path) else _KEPT
        ignored = False
        matched: list[bool] = []
        inherited = parent.matched if parent is not None else (False,) * len(self._patterns)
        for pattern, is_inherited in zip(self._patterns, inherited, strict=True):
            is_match = is_inherited or (pattern.is_exception == ignored and pattern.matches(path))
            matched.append(is_match)
            if is_match:
                ignored = not pattern.is_exception
        return Verdict(ignored=ignored, matched=tuple(matched))

    def may_contain_kept(self, directory: str) -> bool:
        """Tell if a walk has to enter a directory that is ignored."""
        if not self.has_exceptions:
            return False
        if self._has_wild_exceptions:
            return True
        start = f"{directory}/"
        return any(exception.startswith(start) for exception in self._exceptions)


_IGNORED = Verdict(ignored=True)
_KEPT = Verdict(ignored=False)
_PRUNED = Verdict(ignored=True)  # told from the others by identity: a directory that no walk enters


def _patterns(texts: Iterable[str]) -> Iterator[_Pattern]:
    for raw in texts:
        text = raw.strip(SPACE)
        if not text:
            continue
        text = clean_path(text)
        if text == "!":
            raise InputError('illegal exclusion pattern: "!"')
        is_exception = text.startswith("!")
        text = text.removeprefix("!")
        check_syntax(text)
        yield _Pattern(text, is_exception=is_exception)


def _any_of(patterns: tuple[_Pattern, ...]) -> _AnyOf | None:
    try:
        return _AnyOf(patterns)
    except BadPattern:
        return None  # it may never be asked: one by one, then


class ContextFilter:
    """What a walk over a context leaves out, for asking about one path after the other.

    Other than `Matcher.ignores`, this judges directories first and remembers them, as the walk does that
    sends contexts; paths may come in any order.
    """

    def __init__(self, matcher: Matcher) -> None:
        """Filter with these patterns."""
        self._matcher = matcher
        self._directories: dict[str, Verdict] = {}

    def ignores(self, path: str) -> bool:
        """Tell if a path is left out. Raises InputError as `Matcher.judge`."""
        directory = path.rpartition("/")[0]
        parent = (
            (self._directories.get(directory) or self._judge_directories(path))
            if directory
            else None
        )
        return parent is _PRUNED or self._matcher.judge(path, parent).ignored

    def may_contain_kept(self, directory: str) -> bool:
        """Tell if the walk has to enter a directory that is ignored."""
        return self._matcher.may_contain_kept(directory)

    def _judge_directories(self, path: str) -> Verdict | None:
        """Judge the directories above a path, and return the verdict on the lowest."""
        parent: Verdict | None = None
        for directory in _directories(path):
            verdict = self._directories.get(directory)
            if verdict is None:
                verdict = parent if parent is _PRUNED else self._judge_directory(directory, parent)
                self._directories[directory] = verdict
            parent = verdict
        return parent

    def _judge_directory(self, directory: str, parent: Verdict | None) -> Verdict:
        verdict = self._matcher.judge(directory, parent)
        is_pruned = verdict.ignored and not self._matcher.may_contain_kept(directory)
        return _PRUNED if is_pruned else verdict


def exclusion(patterns: Sequence[str]) -> Matcher | None:
    """Return what patterns leave out of a context or a copy, None for nothing. Raises InputError."""
    if not patterns:
        return None
    try:
        return Matcher(patterns)
    except InputError as error:
        raise InputError(f"invalid excludepatterns: [{' '.join(patterns)}]: {error}") from error
