"""What is counted: events by name, and what was lost at which of them."""

from __future__ import annotations

import time
import traceback
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

__all__ = ["Tally"]

_MOST_LOST = 5


@dataclass
class Tally:
    """Counts events until `end` (of `time.monotonic`); `lost` has a text for each at which something was lost."""

    end: float = float("inf")
    events: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    tried: int = 0

    def count(self, name: str) -> None:
        """Count an event."""
        self.events[name] += 1

    @property
    def is_enough(self) -> bool:
        """Whether the time is over, or so much was lost that more would tell nothing new."""
        return len(self.lost) >= _MOST_LOST or time.monotonic() > self.end

    @contextmanager
    def trying(self, what: str) -> Iterator[None]:
        """Take whatever is raised in the block for a loss."""
        self.tried += 1
        try:
            yield
        except Exception as error:  # noqa: BLE001 any at all is what is looked for
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{place.filename.rpartition('/')[2]}:{place.lineno}"
            self.lost.append(f"{self.tried} {what} at {where}: {type(error).__name__}: {error}")

    def figures(self) -> dict[str, int]:
        """Return how many events there were, by name."""
        return {**dict(sorted(self.events.items())), "lost": len(self.lost)}
