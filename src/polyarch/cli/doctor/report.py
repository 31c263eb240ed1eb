"""What `doctor` finds, as lines and as JSON."""

from __future__ import annotations

import json

from polyarch.doctor.check import Grade, Report

__all__ = ["as_json", "as_text"]

_INDENT = 9


def as_text(report: Report) -> str:
    """Write a line for each check, and below it the command that fixes it."""
    width = max((len(check.name) for check in report.checks), default=0)
    lines: list[str] = []
    for check in report.checks:
        lines.append(f"[{check.grade}]".ljust(_INDENT - 2) + f"{check.name:<{width}}  {check.text}")
        if check.fix:
            lines.append(" " * (_INDENT + width) + f"-> {check.fix}")
    return "".join(f"{line}\n" for line in [*lines, "", _verdict(report)])


def _verdict(report: Report) -> str:
    failed, warned = _names(report, Grade.FAIL), _names(report, Grade.WARN)
    if failed:
        return f"not all right: {failed}"
    return f"all right, but for: {warned}" if warned else "all right"


def _names(report: Report, grade: Grade) -> str:
    return ", ".join(dict.fromkeys(each.name for each in report.checks if each.grade is grade))


def as_json(report: Report) -> str:
    """Write it as one JSON object."""
    checks = [
        {"name": each.name, "status": each.grade.value, "text": each.text, "fix": each.fix}
        for each in report.checks
    ]
    found = {"healthy": report.is_healthy, "sound": report.is_sound, "checks": checks}
    return json.dumps(found, indent=2) + "\n"
