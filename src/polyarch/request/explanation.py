"""Why a step of a build wasn't cached, as values and in words."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polyarch.digest import Digest
from polyarch.pattern import pattern
from polyarch.record import frozen

__all__ = ["Cause", "Explanation"]

_LONGEST = 100
_MOST_NAMES = 2
_UNSET = "(unset)"
_PREFIX = pattern(r"\A\[[^\]]*\] ")


@frozen
class Cause:
    """One thing that isn't as it was in the nearest earlier build of a step.

    `kind` is one of those below; `what` names the thing, `old` and `new` say how it was and is, as far as
    that can be said. `step` is the earlier step whose cause it is, "" for the step's own.

        new           there was no earlier build of the step; `old` is what stood in its place
        failed        it has never ended well
        forced        a flag, `what`, says that the cache isn't to be used
        collected     nothing differs, but the earlier result was removed
        platform      it is built for another platform
        instruction   its text
        argument      a build argument; "" is unset
        variable      another variable of its environment
        option        the user, the working directory, the network and so on
        mount         a mount of it
        base          the image that it stands on
        revision      the commit of a repository
        changed       a file's content; values are the beginnings of digests, or sizes
        mode, owner   of a file or a directory
        type          a file is a directory now, or the like
        added, removed, renamed   a file or a directory
        content       files, and which is no longer known, or how; `old` says why
        order         it stands on another step than before
        again         an earlier step was run again since, and gave another result
    """

    kind: str
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


_TEXTS: Mapping[str, str] = {
    "new": "no earlier build of this step{hint}",
    "failed": "no earlier build of this step ended well",
    "forced": "{what} was given",
    "collected": "nothing differs, but its earlier result is gone: it was pruned or collected",
    "platform": "the platform differs: {old} → {new}",
    "instruction": "the instruction differs: {old} → {new}",
    "argument": "the build argument {what} differs: {old_value} → {new_value}",
    "variable": "the variable {what} differs: {old_value} → {new_value}",
    "option": "the {what} differs: {old_value} → {new_value}",
    "mount": "the mount at {what} differs: {old_value} → {new_value}",
    "base": "the base image {what} differs: {old} → {new}",
    "revision": "the commit of {what} differs: {old} → {new}",
    "changed": "{what} differs ({old} → {new})",
    "mode": "the mode of {what} differs: {old} → {new}",
    "owner": "the owner of {what} differs: {old} → {new}",
    "type": "{what} was a {old} and is a {new}",
    "added": "{what} is new",
    "removed": "{what} is gone",
    "renamed": "{old} was renamed to {new}",
    "content": "{what} differs{hint}",
    "order": "it stood on {old}, and stands on {new}",
    "again": "it has another result since, though nothing differs",
}
_RAN_AGAIN = frozenset({"again", "collected", "failed", "forced", "new"})


@frozen
class Explanation:
    """Why one step of a build ran; one that was cached has no causes.

    `step` is its digest as events have it, `name` what the displays call it, `number` its number there
    (0: unknown), `line` and `end_line` the instruction's first and last in the Dockerfile (0: unknown). `outcome` is "ran", "cached",
    "failed" or "canceled". The first of `causes` is the reason; the others differ as well. `through` names
    the steps between that of the reason and this one.
    """

    step: Digest
    name: str
    outcome: str
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
