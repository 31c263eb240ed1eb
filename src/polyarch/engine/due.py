"""Whether the store has come so close to its bounds, or so far in time, that a collection is due.

Cheap enough for each snapshot that a build adds: nothing is walked, no document is read. So images that are kept count
as if they were cache, and a collection may find nothing to do.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress

from polyarch.store.policy import Policy
from polyarch.store.store import Store
from polyarch.store.trouble import store_trouble

__all__ = ["is_due", "note_collection"]

_STAMP = "collected"
_OFTEN = 3600.0
"""Between collections of what has only become old, in seconds."""


def is_due(store: Store, policies: Sequence[Policy], *, share: float = 1.0) -> bool:
    """Tell whether something was never measured, a policy is reached to this share, or the last collection is old."""
    if not policies:
        return False
    recorded, unmeasured = store.snapshots.total()
    if unmeasured or _is_stale(store):
        return True
    used = recorded + sum(size for _, size in store.blobs)
    status = os.statvfs(store.root)
    free = status.f_bavail * status.f_frsize
    bounds = [each for each in policies if not each.keep_seconds]
    targets = (each.target(used, free) for each in bounds)
    return any(target is not None and used >= target * share for target in targets)


def note_collection(store: Store) -> None:
    """Remember that what is old was collected just now."""
    path = store.root / _STAMP
    with store_trouble("write", path):
        path.touch(mode=0o600)
        os.utime(path)


def _is_stale(store: Store) -> bool:
    with suppress(FileNotFoundError):
        return abs(time.time() - (store.root / _STAMP).stat().st_mtime) > _OFTEN
    # A store that was never collected begins to count.
    note_collection(store)
    return False
