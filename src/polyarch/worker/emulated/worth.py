"""What fetching a base image's native variant costs, and what it may save -> whether and when to fetch it.

What it costs is known well: its missing layers have sizes, and what was fetched for the build so far tells how fast
they come. What it saves isn't: nobody knows how long a step will take that has never run. So

- with earlier runs to go by, the variant is waited for if it costs less than emulation took then and twins
  spare; it isn't fetched at all if that is more than all steps on that base have ever taken;
- without any, a small one is waited for: five seconds, once for a base image and store, is less than what the
  shortest `apt-get update` takes longer under emulation. A larger one is fetched while steps run emulated,
  and those that begin after it has come have twins.

Ending a long first step in the middle to run it again with twins was rejected: it may have half written a cache.
"""

from __future__ import annotations

from enum import Enum, auto

__all__ = ["Fetching", "fetching"]

_MAKING_SECONDS = 1.5
_SHARE_SPARED = 0.5
"""Of what emulated steps take: configuring packages is 11 times as fast with native programs, compiling as slow."""
_SMALL_SECONDS = 5.0


class Fetching(Enum):
    """When to fetch what twins are made from."""

    FIRST = auto()
    BESIDE = auto()
    NOT = auto()


def fetching(size: int, pace: float, known: float | None) -> Fetching:
    """Decide for a variant of which `size` bytes are missing, at `pace` bytes a second.

    `known` is how many seconds emulated steps on that base took, None if none has run.
    """
    cost = size / pace + _MAKING_SECONDS
    if known is None:
        return Fetching.FIRST if cost <= _SMALL_SECONDS else Fetching.BESIDE
    return Fetching.FIRST if cost <= known * _SHARE_SPARED else Fetching.NOT
