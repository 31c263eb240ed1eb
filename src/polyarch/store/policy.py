"""What the collector is to keep, as rules: those of `prune`, and BuildKit's own.

Source: BuildKit's `PruneInfo` and its default policies.
"""

from __future__ import annotations

from collections.abc import Callable

from polyarch.record import frozen, replace
from polyarch.store.snapshots import RecordType
from polyarch.store.usage import Usage

__all__ = ["Policy", "Space", "default_policies", "default_space", "share_of"]

_HIDDEN = frozenset({RecordType.INTERNAL, RecordType.FRONTEND})
_GB = 1_000_000_000
_HOUR = 3600.0
_DAY = 24 * _HOUR
# In the order in which BuildKit names them.
_SHORT_LIVED_IN_ORDER = (RecordType.SOURCE_LOCAL, RecordType.CACHE_MOUNT, RecordType.SOURCE_GIT)
_SHORT_LIVED = frozenset(_SHORT_LIVED_IN_ORDER)


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
    filters: tuple[str, ...] = ()
    """What `types` or `matches` were read from, of which one must be met."""
    all: bool = False
    """Internal and frontend records, and those that images share, go too."""

    def concerns(self, entry: Usage) -> bool:
        """Tell whether a record is asked for at all, whatever its age and what is in use."""
        return (
            (self.all or not (entry.shared or entry.record.type in _HIDDEN))
            and (not self.types or entry.record.type in self.types)
            and (self.matches is None or self.matches(entry))
        )

    def target(self, used: int, free: int) -> int | None:
        """Return the bytes that may stay of those that are used; None for no bound at all: whatever matches goes.

        `free` are those of the disk.
        """
        if not (self.max_used or self.min_free or self.reserved):
            return None
        keep = self.max_used
        if self.min_free:
            deficit = self.min_free - free
            if deficit > 0:
                keep = min(keep or used, max(used - deficit, 0))
            elif not keep:
                keep = used + 1
        return max(keep, self.reserved)


@frozen
class Space:
    """Bounds of the cache in bytes: what always stays, what it may have, what of the disk should be free; 0: none."""

    reserved: int = 0
    max_used: int = 0
    min_free: int = 0


def default_space(total: int) -> Space:
    """Return the bounds that BuildKit has for a disk of `total` bytes (0: unknown), where none are set."""
    return Space(
        reserved=min(share_of(total, 10), 10 * _GB),
        max_used=min(share_of(total, 80), 100 * _GB),
        min_free=share_of(total, 20),
    )


def default_policies(space: Space) -> tuple[Policy, ...]:
    """Return BuildKit's default policies with these bounds."""
    bounded = Policy(reserved=space.reserved, max_used=space.max_used, min_free=space.min_free)
    return (
        Policy(
            types=_SHORT_LIVED,
            filters=tuple(f"type=={kind}" for kind in _SHORT_LIVED_IN_ORDER),
            keep_seconds=48 * _HOUR,
            max_used=512_000_000,
        ),
        replace(bounded, keep_seconds=60 * _DAY),
        bounded,
        replace(bounded, all=True),
    )


def share_of(total: int, percent: int) -> int:
    """Return so much of a disk in bytes, as BuildKit reckons it."""
    return (total * percent // 100 // (1 << 30) + 1) * _GB if total else 2 * _GB
