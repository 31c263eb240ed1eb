"""File modes as `--chmod` writes them: octal, or symbolic.

The symbolic ones are those of BSD's setmode(3), which BuildKit's library follows, not those of GNU's
chmod(1). Where that makes a difference: `=` takes set-id bits from directories, too, and the sticky bit from
nothing; copying bits (`g=u`) leaves set-id bits alone; the sticky bit belongs to everybody but `o`; and
who is asked for it without saying for whom (`+rt`) gets it alone. `X` looks at the mode before any change.
Other than BSD's, BuildKit's library knows `X` behind `=` and `-`, as Linux does.
"""

from __future__ import annotations

from collections.abc import Callable

from polyarch.errors import InputError
from polyarch.pattern import pattern
from polyarch.record import frozen

__all__ = ["FileMode", "parse_mode"]

_OCTAL = pattern(r"[0-7]+")
_CLAUSE = pattern(r"([ugoa]*)((?:[-+=][rwxXstugo]*)+)")
_ACTION = pattern(r"([-+=])([rwxXstugo]*)")
_WHO = {"u": 0o4700, "g": 0o2070, "o": 0o007, "a": 0o6777}
_SHIFTS = {"u": 6, "g": 3, "o": 0}
_PERMISSIONS = {"r": 0o444, "w": 0o222, "x": 0o111}
_SET_ID = 0o6000
_STICKY = 0o1000
_ANYBODY = 0o7777
_CLEARED = 0o6777
_DIRECTORY = 0o755

_Step = Callable[[int, int, bool], int]
"""From the mode so far, the mode before any step and whether it is a directory's, to the next mode."""


@frozen
class FileMode:
    """What `--chmod` asks for: a number, or else the steps that lead from a file's mode to the wanted one."""

    number: int | None = None
    steps: tuple[_Step, ...] = ()

    def of(self, mode: int, is_directory: bool) -> int:
        """Return the mode of a copy, from its source's."""
        if self.number is not None:
            return self.number
        changed = mode
        for step in self.steps:
            changed = step(changed, mode, is_directory)
        return changed

    @property
    def of_new_directories(self) -> int:
        """The mode of directories that are made on the way: those have no special bits, and no source."""
        return _DIRECTORY if self.number is None else self.number & 0o777


def parse_mode(text: str) -> FileMode:
    """Understand a mode. Raises InputError."""
    if _OCTAL.fullmatch(text) and int(text, 8) <= 0o7777:
        return FileMode(number=int(text, 8))
    if "0" <= text[:1] <= "9":
        raise InputError(
            f"invalid chmod parameter: '{text}'. it should be octal string and between 0 and 07777"
        )
    clauses = [_CLAUSE.fullmatch(clause) for clause in text.split(",")]
    steps: list[_Step] = []
    for clause in clauses:
        if clause is None:
            raise InputError(
                f"invalid chmod parameter: '{text}': invalid syntax",
                hint="give an octal mode up to 07777, or a symbolic one such as u=rwX,go=rX",
            )
        who = 0
        for letter in clause[1]:
            who |= _WHO[letter]
        for action in _ACTION.finditer(clause[2]):
            steps += _steps(who, action[1], action[2])
    return FileMode(steps=tuple(steps))


def _steps(who: int, operator: str, letters: str) -> list[_Step]:
    """Return the steps of one operator; `who` is 0 if the clause doesn't say."""
    steps: list[_Step] = []
    bits, is_search, is_done = 0, False, False
    for letter in letters:
        if letter in _PERMISSIONS:
            bits |= _PERMISSIONS[letter]
        elif letter == "X":
            is_search = True
        elif letter in _SHIFTS:
            # A copy comes after what was named before it, and replaces that if it is one by "=".
            steps += _changes(who, operator, bits, is_search, not bits)
            bits, is_search, is_done = 0, False, is_done or operator == "="
            steps.append(_copy(who, operator, _SHIFTS[letter]))
        elif who == 0 or who & ~_WHO["o"]:
            bits |= _SET_ID if letter == "s" else _STICKY
            who |= _STICKY if letter == "t" else 0
    return steps + _changes(who, operator, bits, is_search, is_done and not bits)


def _changes(who: int, operator: str, bits: int, is_search: bool, is_done: bool) -> list[_Step]:
    """Return the steps for the bits that were named; `is_done` says that "=" has nothing to clear."""
    steps: list[_Step] = []
    if operator == "=" and not is_done:
        steps.append(_clear(who or _CLEARED))
    if bits:
        wanted = bits & (who or _ANYBODY)
        steps.append(_clear(wanted) if operator == "-" else _set(wanted))
    if is_search:
        steps.append(_search(_PERMISSIONS["x"] & (who or _ANYBODY), operator))
    return steps


def _set(bits: int) -> _Step:
    return lambda mode, _before, _is_directory: mode | bits


def _clear(bits: int) -> _Step:
    return lambda mode, _before, _is_directory: mode & ~bits


def _search(bits: int, operator: str) -> _Step:
    def step(mode: int, before: int, is_directory: bool) -> int:
        if not is_directory and not before & _PERMISSIONS["x"]:
            return mode
        return mode & ~bits if operator == "-" else mode | bits

    return step


def _copy(who: int, operator: str, source: int) -> _Step:
    shifts = [shift for name, shift in _SHIFTS.items() if not who or who & _WHO[name] & 0o444]

    def step(mode: int, _before: int, _is_directory: bool) -> int:
        triple = mode >> source & 0o7
        for shift in shifts:
            if operator != "+":
                mode &= ~((0o7 if operator == "=" else triple) << shift)
            if operator != "-":
                mode |= triple << shift
        return mode

    return step
