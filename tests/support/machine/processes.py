"""Processes that must end: those below one, watched by descriptors that no other can take over."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Iterator
from pathlib import Path

__all__ = ["below", "watching"]


def below(pid: int) -> list[int]:
    """Return the ids of all processes that `pid` has started, and that those have."""
    found: list[int] = []
    waiting = [pid]
    while waiting:
        parent = waiting.pop()
        children: list[int] = []
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for task in Path(f"/proc/{parent}/task").iterdir():
                children += map(int, (task / "children").read_text().split())
        found += children
        waiting += children
    return found


class Watched:
    """Some processes; none is mistaken for a later one with its id."""

    def __init__(self, pids: list[int]) -> None:
        self._descriptors = {os.pidfd_open(pid): pid for pid in pids}

    def left_after(self, seconds: float) -> list[int]:
        """Wait for all of them to end; return those that haven't."""
        deadline = time.monotonic() + seconds
        left = dict(self._descriptors)
        while left and (patience := deadline - time.monotonic()) > 0:
            for ended in select.select(list(left), [], [], patience)[0]:
                del left[ended]
        return list(left.values())

    def close(self) -> None:
        for descriptor in self._descriptors:
            os.close(descriptor)


@contextlib.contextmanager
def watching(pids: list[int]) -> Iterator[Watched]:
    watched = Watched(pids)
    try:
        yield watched
    finally:
        watched.close()
