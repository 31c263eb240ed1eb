"""Why a step of a build wasn't cached, as values and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import StrEnum

from polyarch.digest import Digest
from polyarch.pattern import pattern
from polyarch.record import frozen

__all__ = ["Cause", "CauseKind", "Explanation", "Outcome"]

_LONGEST = 100
_MOST_NAMES = 2
_UNSET = "(unset)"
_PREFIX = pattern(r"\A\[[^\]]*\] ")


class Outcome(StrEnum):
    """How a vertex came by its result, or why it has none."""

    RAN = "ran"
    CACHED = "cached"
    FETCHED = "fetched"
    NAMED = "named"
    """A source that nobody had to look into."""
    FAILED = "failed"
    CANCELED = "canceled"


class CauseKind(StrEnum):
    """What isn't as it was."""

    NEW = "new"
    """There was no earlier build of the step; `old` is what stood in its place."""
    FAILED = "failed"
    """It has never ended well."""
    FORCED = "forced"
    """A flag, `what`, says that the cache isn't to be used."""
    COLLECTED = "collected"
    """Nothing differs, but the earlier result was removed."""
    PLATFORM = "platform"
    """It is built for another platform."""
    INSTRUCTION = "instruction"
    """Its text."""
    ARGUMENT = "argument"
    """A build argument; an empty text is unset."""
    VARIABLE = "variable"
    """Another variable of its environment."""
    OPTION = "option"
    """The user, the working directory, the network and so on."""
    MOUNT = "mount"
    """A mount of it."""
    BASE = "base"
    """The image that it stands on."""
    REVISION = "revision"
    """The commit of a repository."""
    CHANGED = "changed"
    """A file's content; values are the beginnings of digests, or sizes."""
    MODE = "mode"
    """The mode of a file or a directory."""
    OWNER = "owner"
    """The owner of a file or a directory."""
    TYPE = "type"
    """A file is a directory now, or the like."""
    ADDED = "added"
    """A file or a directory is new."""
    REMOVED = "removed"
    """A file or a directory is gone."""
    RENAMED = "renamed"
    """A file is at another place."""
    CONTENT = "content"
    """Files, and which is no longer known, or how; `old` says why."""
    ORDER = "order"
    """It stands on another step than before."""
    AGAIN = "again"
    """An earlier step was run again since, and gave another result."""


@frozen
class Cause:
    """One thing that isn't as it was in the nearest earlier build of a step.

    `what` names the thing, `old` and `new` say how it was and is, as far as that can be said. `step` is the
    earlier step whose cause it is, "" for the step's own.
    """

    kind: CauseKind
    what: str = ""
    old: str = ""
    new: str = ""
    step: str = ""

    def text(self) -> str:
        """Say it in one line."""
        own = _TEXTS[self.kind].format(
            what=_shown(self.what),
            old=_shown(self.old),
            new=_shown(self.new),
            old_value=_shown(self.old) or _UNSET,
            new_value=_shown(self.new) or _UNSET,
            hint=f" ({_shown(self.old)})" if self.old else "",
        )
        if not self.step:
            return own
        verb = "ran again" if self.kind in _RAN_AGAIN else "changed"
        return f"{_shown(self.step)} before it {verb}: {own}"


_TEXTS: Mapping[CauseKind, str] = {
    CauseKind.NEW: "no earlier build of this step{hint}",
    CauseKind.FAILED: "no earlier build of this step ended well",
    CauseKind.FORCED: "{what} was given",
    CauseKind.COLLECTED: "nothing differs, but its earlier result is gone: it was pruned or collected",
    CauseKind.PLATFORM: "the platform differs: {old} → {new}",
    CauseKind.INSTRUCTION: "the instruction differs: {old} → {new}",
    CauseKind.ARGUMENT: "the build argument {what} differs: {old_value} → {new_value}",
    CauseKind.VARIABLE: "the variable {what} differs: {old_value} → {new_value}",
    CauseKind.OPTION: "the {what} differs: {old_value} → {new_value}",
    CauseKind.MOUNT: "the mount at {what} differs: {old_value} → {new_value}",
    CauseKind.BASE: "the base image {what} differs: {old} → {new}",
    CauseKind.REVISION: "the commit of {what} differs: {old} → {new}",
    CauseKind.CHANGED: "{what} differs ({old} → {new})",
    CauseKind.MODE: "the mode of {what} differs: {old} → {new}",
    CauseKind.OWNER: "the owner of {what} differs: {old} → {new}",
    CauseKind.TYPE: "{what} was a {old} and is a {new}",
    CauseKind.ADDED: "{what} is new",
    CauseKind.REMOVED: "{what} is gone",
    CauseKind.RENAMED: "{old} was renamed to {new}",
    CauseKind.CONTENT: "{what} differs{hint}",
    CauseKind.ORDER: "it stood on {old}, and stands on {new}",
    CauseKind.AGAIN: "it has another result since, though nothing differs",
}
_RAN_AGAIN = frozenset(
    {
        CauseKind.AGAIN,
        CauseKind.COLLECTED,
        CauseKind.FAILED,
        CauseKind.FORCED,
        CauseKind.NEW,
    }
)


@frozen
class Explanation:
    """Why one step of a build ran; one that was cached has no causes.

    `step` is its digest as events have it, `name` what the displays call it, `number` its number there
    (0: unknown), `line` and `end_line` the instruction's first and last in the
    Dockerfile (0: unknown). The first of `causes` is the reason; the others differ as well. `through` names
    the steps between that of the reason and this one.
    """

    step: Digest
    name: str
    outcome: Outcome
    number: int = 0
    line: int = 0
    end_line: int = 0
    causes: tuple[Cause, ...] = ()
    through: tuple[str, ...] = ()

    def text(self) -> str:
        """Say in one line why it isn't cached; "cached" if it is."""
        return f"not cached: {self.causes[0].text()}" if self.causes else "cached"

    def text_of_instruction(self) -> str:
        """Return the name without what the displays put in front of it: the stage and the number."""
        return _PREFIX.sub("", self.name, count=1)

    def details(self) -> tuple[str, ...]:
        """Say the rest, a line each."""
        lines = [f"also: {cause.text()}" for cause in self.causes[1:]]
        if self.through:
            lines.insert(0, f"by way of {_some(self.through)}")
        return tuple(lines)


def _some(names: Sequence[str]) -> str:
    """List names, but not many."""
    listed = ", ".join(map(_shown, names[:_MOST_NAMES]))
    more = len(names) - _MOST_NAMES
    return f"{listed} and {more} more" if more > 0 else listed


def _shown(text: str) -> str:
    """Write a text in one line that isn't too long."""
    line = " ".join(text.split()) if "\n" in text else text
    line = "".join(char if char.isprintable() else "�" for char in line)
    return line if len(line) <= _LONGEST else line[: _LONGEST - 1] + "…"
