"""What a process has open: all that leads anywhere is closed before a step can get at it."""

from __future__ import annotations

import os

__all__ = ["close_all_but"]

_HIGHEST = (1 << 31) - 1


def close_all_but(*kept: int) -> None:
    """Close every descriptor of the caller but `kept`."""
    first = 0
    for descriptor in sorted(kept):
        if first < descriptor:  # of an empty range Python makes an endless one
            os.closerange(first, descriptor)
        first = descriptor + 1
    os.closerange(first, _HIGHEST)
