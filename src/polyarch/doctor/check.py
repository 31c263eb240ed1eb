"""What was found out, as values."""

from __future__ import annotations

from enum import StrEnum

from polyarch.record import frozen

__all__ = ["Check", "Grade", "Report"]


class Grade(StrEnum):
    """How good or bad it is."""

    OK = "ok"
    WARN = "warn"
    """Something can't be done here, or is slow; most builds are all right."""
    FAIL = "fail"
    """Nothing can be built, or what is built can't be trusted."""


@frozen
class Check:
    """One thing that was looked at; `fix` is the command that makes it good."""

    name: str
    grade: Grade
    text: str
    fix: str = ""


@frozen
class Report:
    """All that was looked at; `is_sound` tells of the store, None if there is none."""

    checks: tuple[Check, ...]
    is_sound: bool | None

    @property
    def is_healthy(self) -> bool:
        """Whether nothing essential fails."""
        return all(check.grade is not Grade.FAIL for check in self.checks)
