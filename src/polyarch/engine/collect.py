"""Less of the build cache, with all that knows of what goes: the store, the solver's records, the history."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from polyarch.snapshot.stack import take_apart
from polyarch.solver.records import Records
from polyarch.store.gc import Freed, collect
from polyarch.store.policy import Policy
from polyarch.store.results import Results
from polyarch.store.store import Store
from polyarch.store.usage import Usage
from polyarch.why.history import History

__all__ = ["prune"]


def prune(
    store: Store,
    policies: Sequence[Policy],
    *,
    on_removed: Callable[[Usage], None] = lambda _: None,
) -> Freed:
    """Apply the policies as `store.gc.collect` does, and forget what was known of the removed snapshots."""
    results = Results(store.database, take_apart)
    records = Records(store.database, results)
    history = History(store.database)

    def forget(parts: Sequence[str]) -> None:
        gone = results.forget_parts(parts)
        records.forget_all(gone)
        history.forget_all(gone)

    return collect(store, policies, forget=forget, on_removed=on_removed)
