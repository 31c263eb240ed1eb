"""What the collector is to keep, as rules: those of `prune`, and BuildKit's own.

Source: BuildKit's `PruneInfo` and its default policies.
"""

from __future__ import annotations

from collections.abc import Callable

from polyarch.record import frozen, replace
from polyarch.store.snapshots import RecordType
from polyarch.store.usage import Usage

__all__ = ["Policy", "default_policies"]

_GB = 1_000_000_000
_HOUR = 3600.0
_DAY = 24 * _HOUR
_SHORT_LIVED = frozenset({RecordType.SOURCE_LOCAL, RecordType.CACHE_MOUNT, RecordType.SOURCE_GIT})


@frozen
class Policy:
    """One rule of the collector. Sizes are bytes, times are seconds; 0 means that there is no bound."""

    types: frozenset[RecordType] = frozenset()
    """Only records of these types; all if empty."""
    matches: Callable[[Usage], bool] | None = None
    """Only records that this accepts: the filters of `prune`."""
    keep_seconds: float = 0.0
    """Records used since then stay."""
    reserved: int = 0
    """So much always stays."""
    max_used: int = 0
    """No more than this should be used."""
    min_free: int = 0
    """So much of the disk should be free."""
    all: bool = False
    """Internal and frontend records, and those that images share, go too."""


def default_policies(
    total: int, *, reserved: int = 0, max_used: int = 0, min_free: int = 0
) -> tuple[Policy, ...]:
    """Return BuildKit's default policies for a disk of `total` bytes (0: unknown).

    Each bound can be set by hand. Percentages become bytes as BuildKit reckons them.
    """
    reserved = reserved or min(_part(total, 10), 10 * _GB)
    max_used = max_used or min(_part(total, 80), 100 * _GB)
    min_free = min_free or _part(total, 20)
    bounded = Policy(reserved=reserved, max_used=max_used, min_free=min_free)
    return (
        Policy(types=_SHORT_LIVED, keep_seconds=48 * _HOUR, max_used=512_000_000),
        replace(bounded, keep_seconds=60 * _DAY),
        bounded,
        replace(bounded, all=True),
    )


def _part(total: int, percent: int) -> int:
    return (total * percent // 100 // (1 << 30) + 1) * _GB if total else 2 * _GB
