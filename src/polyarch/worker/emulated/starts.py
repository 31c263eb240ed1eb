"""How many programs ran natively in a step, and whether one gave up: how often the files of its twins were opened.

The kernel opens a twin when it is started. What of it isn't the program that it was taken for, or has variables for
a foreign loader, is given to the emulator, whose file the step opens then. Two starts at the very same moment may
count as one. How often emulated programs are started isn't counted: their emulator is that of all other
steps, too; nor is the time of the ones and the others told apart, as nothing in the kernel sums it up.

A twin that can't do as the foreign program would opens a file of the set, its mark, before it ends. Whether it is
opened is listened to apart, so that nothing of it is missed; where that can't be, each step may have given up.

Counting costs two events in the kernel for each start, a microsecond, which are read four times a second.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from polyarch.errors import MachineError
from polyarch.inotify import Openings
from polyarch.twins.places import EMULATOR, GIVEN_UP, TREE
from polyarch.worker.emulated.sets import ImageSet

__all__ = ["Starts", "StartsOf"]

_SECONDS = 0.25


class Starts:
    """How many programs were started natively; None if it can't be told.

    `gave_up` tells whether one of them ended since it couldn't do as the foreign program would, or may have.
    """

    def __init__(self) -> None:
        self.count: int | None = None
        self.gave_up = True


class StartsOf:
    """Counts for steps, of which some may have a set in common at the same time: theirs can't be told apart."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._using: Counter[str] = Counter()
        self._shared: set[str] = set()

    @contextmanager
    def counting(self, sets: Sequence[ImageSet], directory: Path) -> Iterator[Starts]:
        """Count until the block ends; `directory` is where the step's sets are put together."""
        starts = Starts()
        names = [each.snapshot for each in sets]
        twins = {
            each.twins.directory / TREE / twin.starts.lstrip("/")
            for each in sets
            for twin in each.twins.twins
        }
        emulators, marks = (
            [directory / f"{each.twins.number}/{name}" for each in sets]
            for name in (EMULATOR, GIVEN_UP)
        )
        openings, given_up = Openings(twins, emulators), Openings(marks)
        with ExitStack() as listening:
            try:
                listening.enter_context(given_up)
                listening.enter_context(openings)
                listening.enter_context(_reading(openings))
            except MachineError:
                openings.is_complete = False  # a step runs without being counted, too
            self._begin(names)
            try:
                yield starts
            finally:
                is_alone = self._end(names)
        starts.gave_up = given_up.counts != [0] or not given_up.was_open
        if is_alone and openings.is_complete:
            starts.count = max(0, openings.counts[0] - openings.counts[1])

    def _begin(self, names: Sequence[str]) -> None:
        with self._lock:
            self._using.update(names)
            self._shared |= {name for name in names if self._using[name] > 1}

    def _end(self, names: Sequence[str]) -> bool:
        """Return whether no other step had any of the sets in the meantime."""
        with self._lock:
            is_alone = self._shared.isdisjoint(names)
            self._using.subtract(names)
            self._shared -= {name for name in names if not self._using[name]}
            return is_alone


@contextmanager
def _reading(openings: Openings) -> Iterator[None]:
    """Read now and then, in a thread, before the kernel's queue is full."""
    done = threading.Event()

    def read() -> None:
        while not done.wait(_SECONDS):
            openings.read()

    thread = threading.Thread(target=read, name="starts")
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
