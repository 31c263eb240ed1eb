"""Many events that came at once -> the order in which people can read them: step after step.

BuildKit keeps what a build said of itself as one message at its end: all that was said of vertices, then of their
parts, then what they printed. A vertex that was worked at several times has a start and an end for each time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from polyarch.digest import Digest
from polyarch.progress import Event, LogEvent, StatusEvent, StepEvent
from polyarch.record import replace

__all__ = ["in_order"]

_Timed = tuple[float, Event]


def in_order(events: Sequence[_Timed]) -> Iterator[_Timed]:
    """Give the events of one message, each with its time: announcements, and then each step with all that is of it.

    Steps come in the order in which they ended, those that didn't last. A lone event stays as it is.
    """
    if len(events) < 2:
        yield from events
        return
    blocks: dict[Digest, list[_Timed]] = {}
    rest = []
    for moment, event in events:
        match event:
            case StepEvent(started=None):
                yield moment, event
            case StepEvent() | StatusEvent() | LogEvent():
                blocks.setdefault(event.step, []).append((moment, event))
            case _:
                rest.append((moment, event))
    found = [_block(each) for each in blocks.values()]
    for block in sorted(found, key=_end):
        yield from block
    yield from rest


def _end(block: Sequence[_Timed]) -> float:
    last = block[-1][1]
    if isinstance(last, StepEvent) and last.completed is not None:
        return last.completed
    return float("inf")


def _block(events: Sequence[_Timed]) -> list[_Timed]:
    """Return what is of one step: its start, its parts and what it printed, its end."""
    steps = [event for _, event in events if isinstance(event, StepEvent)]
    others: list[_Timed] = sorted(
        ((moment, event) for moment, event in events if not isinstance(event, StepEvent)),
        key=lambda pair: pair[0],
    )
    if not steps:
        return others
    times = _times(steps)
    # Updates of one vertex come in no certain order.
    last = max(steps, key=lambda each: each.completed or 0.0)
    if times[max(times)] is None or last.completed is None:
        return [(min(times), replace(steps[0], started=min(times), completed=None)), *others]
    # How long it took is how long it was worked at.
    ended = replace(last, started=last.completed - _worked(times))
    begun = replace(ended, completed=None, cached=False, error="")
    return [(min(times), begun), *others, (last.completed, ended)]


def _times(steps: Sequence[StepEvent]) -> dict[float, float | None]:
    """Return when a step was begun, with when that ended, if it did."""
    times: dict[float, float | None] = {}
    for each in steps:
        if each.started is not None:
            times[each.started] = each.completed or times.get(each.started)
    return times


def _worked(times: Mapping[float, float | None]) -> float:
    """Return for how many seconds a step was worked at, in all of its times together."""
    total, until = 0.0, 0.0
    for start, end in sorted(times.items()):
        if end is not None:
            total += max(0.0, end - max(start, until))
            until = max(until, end)
    return total
