"""Explanations of steps as people and programs read them."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Sequence

from polyarch.errors import InputError, NotFound
from polyarch.pattern import pattern
from polyarch.record import asdict
from polyarch.request.explanation import Explanation, Outcome
from polyarch.why.history import Explained

__all__ = ["as_json", "chosen", "explained_lines"]

_NUMBER = pattern(r"#(\d+)\Z")
_LINE = pattern(r"(?:.*:)?(\d+)\Z")


def explained_lines(steps: Iterable[Explanation]) -> list[str]:
    """Return a line for each step, with further ones below it."""
    lines = []
    for step in steps:
        number = f"#{step.number} " if step.number else ""
        outcome = "" if step.outcome in {Outcome.RAN, Outcome.CACHED} else f" ({step.outcome})"
        lines.append(f"{number}{step.name}{outcome}: {step.text()}")
        lines += [f"    {detail}" for detail in step.details()]
    return lines


def as_json(build: Explained, steps: Sequence[Explanation]) -> str:
    """Return a line of JSON: an object with the build's steps in it."""
    ended = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(build.ended))
    fields = {
        "context": build.project.context,
        "dockerfile": build.project.dockerfile,
        "ended": ended,
        "steps": [{**asdict(step), "text": step.text()} for step in steps],
    }
    return json.dumps(fields)


def chosen(steps: Sequence[Explanation], wanted: str) -> list[Explanation]:
    """Return the steps that `wanted` names; without it those that ran.

    It is `#7` (the number in the display), a line of the Dockerfile alone or behind a colon, a name or a
    part of just one name. Several platforms may each have a step of that line or name. Raises NotFound,
    InputError.
    """
    if not wanted:
        return [step for step in steps if step.causes]
    found = _matches(steps, wanted)
    if not found:
        raise NotFound(f"no step {wanted} in that build", hint=f"its steps are:\n{_listed(steps)}")
    if len({(step.line, step.text_of_instruction()) for step in found}) > 1:
        raise InputError(
            f"{wanted!r} is a part of several steps' names", hint=f"they are:\n{_listed(found)}"
        )
    return found


def _matches(steps: Sequence[Explanation], wanted: str) -> list[Explanation]:
    if match := _NUMBER.match(wanted):
        return [step for step in steps if step.number == int(match[1])]
    if exact := _of_name(steps, wanted):
        return exact
    if match := _LINE.match(wanted):
        found = _of_line(steps, int(match[1]))
        if found or wanted.isdecimal():
            return found
    return [step for step in steps if wanted.lower() in step.name.lower()]


def _of_name(steps: Sequence[Explanation], name: str) -> list[Explanation]:
    return [step for step in steps if name in {step.name, step.text_of_instruction()}]


def _of_line(steps: Sequence[Explanation], line: int) -> list[Explanation]:
    return [step for step in steps if step.line <= line <= max(step.line, step.end_line)]


def _listed(steps: Iterable[Explanation]) -> str:
    return "\n".join(f"  #{step.number} {step.name} (line {step.line})" for step in steps)
