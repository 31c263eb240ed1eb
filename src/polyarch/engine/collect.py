"""Less of the build cache, with all that knows of what goes: the store, the solver's records, the history.

Emulators that were fetched go when they weren't used for long, whatever the policies say: they are what
a build can't do without where there is no network.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from polyarch.emulation.kept import KEPT_SECONDS, all_kept
from polyarch.record import replace
from polyarch.snapshot.stack import take_apart
from polyarch.solver.records import Records
from polyarch.store.gc import Freed, collect
from polyarch.store.policy import Policy
from polyarch.store.results import Results
from polyarch.store.store import Store
from polyarch.store.trees import tree_size
from polyarch.store.trouble import store_trouble
from polyarch.store.usage import Usage
from polyarch.why.history import History

__all__ = ["prune"]


def prune(
    store: Store,
    policies: Sequence[Policy],
    *,
    on_removed: Callable[[Usage], None] = lambda _: None,
    wait: bool = False,
) -> Freed:
    """Apply the policies as `store.gc.collect` does, and forget what was known of the removed snapshots."""
    results = Results(store.database, take_apart)
    records = Records(store.database, results)
    history = History(store.database)

    def forget(parts: Sequence[str]) -> None:
        gone = results.forget_parts(parts)
        records.forget_all(gone)
        history.forget_all(gone)

    freed = collect(store, policies, forget=forget, on_removed=on_removed, wait=wait)
    return replace(freed, size=freed.size + _sweep_emulators(store))


def _sweep_emulators(store: Store) -> int:
    """Remove the fetched emulators that weren't used for long; return the bytes of them."""
    size = 0
    for kept in all_kept(store.root):
        limit = time.time() - KEPT_SECONDS
        if kept.used >= limit:
            continue
        aside = store.temporary("emulators")
        # Another collection may be faster; and a build may take them up at this very moment, which it notes first.
        with store_trouble("remove", kept.directory), suppress(FileNotFoundError):
            kept.directory.rename(aside)
            if aside.stat().st_mtime >= limit:
                aside.rename(kept.directory)
                continue
            size += tree_size(aside)
            store.discard(aside)
    return size
