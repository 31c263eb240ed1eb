"""How far the writing of an archive is, in bytes, shown as a part of a step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

from polyarch.progress import Count, Step

if TYPE_CHECKING:
    from polyarch.layer.tar import Sink

__all__ = ["Counting", "CountingSink", "counting", "uncounted"]

Counting = Callable[[str, Callable[[], int]], AbstractContextManager[Count]]
"""Shows a part by its name and what gives its size; as `Step.counted`."""


def counting(shown: Step, platform: str) -> Counting:
    """Return what shows parts of a step, with the platform that they are for if there are several."""
    if not platform:
        return shown.counted
    return lambda part, total: shown.counted(f"{part} ({platform})", total)


@contextmanager
def uncounted(_part: str, _total: Callable[[], int]) -> Iterator[Count]:
    """Show nothing."""
    yield lambda _size: None


class CountingSink:
    """Hands bytes on and tells how many."""

    def __init__(self, sink: Sink, count: Count) -> None:
        self._sink = sink
        self._count = count

    def write(self, data: bytes, /) -> None:
        """Take some bytes."""
        self._sink.write(data)
        self._count(len(data))
