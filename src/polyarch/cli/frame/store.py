"""The local store, opened for a command that needs no engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from polyarch.cli.frame.command import Context
from polyarch.paths import state_directory
from polyarch.store.reserve import reserve_lent
from polyarch.store.store import Store

__all__ = ["open_store"]


@contextmanager
def open_store(context: Context, *, works: bool = True, frees: bool = False) -> Iterator[Store]:
    """Open the local store for the rest of the command; see there for `works`.

    With `frees` it is to remove things, which a full disk mustn't keep it from.
    """
    root = state_directory(context.environ)
    with (
        reserve_lent(root) if frees else nullcontext(),
        Store(root, works=works, ends=True) as store,
    ):
        yield store
