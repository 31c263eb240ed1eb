"""What `doctor` finds, as values, as lines and as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from enum import StrEnum

from polyarch.record import frozen

__all__ = ["Check", "Grade", "Report"]

_INDENT = 9


class Grade(StrEnum):
    """How good or bad it is."""

    OK = "ok"
    WARN = "warn"
    """Something can't be done here, or is slow; most builds are all right."""
    FAIL = "fail"
    """Nothing can be built, or what is built can't be trusted."""


@frozen
class Check:
    """One thing that was looked at; `mend` is the command that makes it good."""

    name: str
    grade: Grade
    text: str
    mend: str = ""


@frozen
class Report:
    """All that was looked at; `is_sound` tells of the store, None if there is none."""

    checks: tuple[Check, ...]
    is_sound: bool | None

    @property
    def is_healthy(self) -> bool:
        """Whether nothing essential fails."""
        return all(check.grade is not Grade.FAIL for check in self.checks)

    def text(self) -> str:
        """Write a line for each check, and below it the command that mends it."""
        width = max((len(check.name) for check in self.checks), default=0)
        lines: list[str] = []
        for check in self.checks:
            lines.append(
                f"[{check.grade}]".ljust(_INDENT - 2) + f"{check.name:<{width}}  {check.text}"
            )
            if check.mend:
                lines.append(" " * (_INDENT + width) + f"-> {check.mend}")
        return "".join(f"{line}\n" for line in [*lines, "", self._verdict()])

    def _verdict(self) -> str:
        failed = _names(self.checks, Grade.FAIL)
        warned = _names(self.checks, Grade.WARN)
        if failed:
            return f"not all right: {failed}"
        return f"all right, but for: {warned}" if warned else "all right"

    def json(self) -> str:
        """Write it as one JSON object."""
        checks = [
            {"name": each.name, "status": each.grade.value, "text": each.text, "mend": each.mend}
            for each in self.checks
        ]
        found = {"healthy": self.is_healthy, "sound": self.is_sound, "checks": checks}
        return json.dumps(found, indent=2) + "\n"


def _names(checks: Sequence[Check] | Iterable[Check], grade: Grade) -> str:
    return ", ".join(dict.fromkeys(check.name for check in checks if check.grade is grade))
