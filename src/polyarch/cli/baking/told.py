"""What people are told of many builds: steps by their targets, and one error for all that failed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polyarch.bakefile.config import Plan
from polyarch.bakefile.target import Target
from polyarch.digest import Digest, sha256
from polyarch.errors import PolyarchError
from polyarch.progress import Event, LogEvent, Sink, StepEvent
from polyarch.record import replace

__all__ = ["failure", "links", "prefixed"]


def links(target: Target) -> list[str]:
    """Return the targets that a target is built on."""
    found = (target.contexts or {}).values()
    return [each.removeprefix("target:") for each in found if each.startswith("target:")]


def failure(errors: Mapping[str, PolyarchError], plan: Plan) -> PolyarchError:
    """Return one error for those of several targets, which says what depends on each."""
    first = next(iter(errors.values()))
    lines = []
    for error in {str(each): each for each in errors.values()}.values():
        names = [name for name, each in errors.items() if str(each) == str(error)]
        waiting = sorted(set().union(*(_dependents(name, plan) for name in names)) - set(names))
        said = f"target {names[0]}: {error}"
        if names[1:]:
            said += f"; {_verb(names[1:], 'need')} it, too"
        lines.append(f"{said}; {_verb(waiting, 'depend')} on it" if waiting else said)
    told = PolyarchError("\n".join(lines), hint=first.hint, place=first.place)
    told.exit_status = first.exit_status
    return told


def _verb(names: Sequence[str], verb: str) -> str:
    return f"{', '.join(names)} {verb}{'s' if len(names) == 1 else ''}"


def _dependents(name: str, plan: Plan) -> set[str]:
    """Return the targets that are built on one, directly or not."""
    found: set[str] = set()
    todo = [name]
    while todo:
        base = todo.pop()
        more = {other for other, each in plan.targets.items() if base in links(each)} - found
        found |= more
        todo += more
    return found


def prefixed(sink: Sink, name: str, logged: dict[Digest, str]) -> Sink:
    """Return a sink that shows steps as those of a target: `[app 1/2] RUN make`, as buildx does.

    Steps of two targets that are one are shown for each of them, what they print and fail by for the first of them only:
    `logged` has that for each step.
    """

    def own(step: Digest) -> Digest:
        return sha256(f"{name} {step}".encode())

    def take(event: Event) -> None:
        changes: dict[str, object] = {"step": own(event.step)}
        is_said = isinstance(event, LogEvent) or (isinstance(event, StepEvent) and event.error)
        is_second = is_said and logged.setdefault(event.step, name) != name
        if isinstance(event, LogEvent) and is_second:
            return
        if isinstance(event, StepEvent):
            changes["error"] = "canceled" if is_second else event.error
            changes["name"] = _shown(event.name, name)
            changes["inputs"] = tuple(map(own, event.inputs))
        sink(replace(event, **changes))

    return take


def _shown(step: str, target: str) -> str:
    if step.startswith("[internal] "):
        return f"[{target} internal] {step.removeprefix('[internal] ')}"
    return f"[{target} {step[1:]}" if step.startswith("[") else f"[{target}] {step}"
