"""The local store, opened for a command that needs no engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from polyarch.cli.frame.command import Context
from polyarch.paths import state_directory
from polyarch.store.store import Store

__all__ = ["open_store"]


@contextmanager
def open_store(context: Context, *, works: bool = True) -> Iterator[Store]:
    """Open the local store for the rest of the command; see there for `works`."""
    with Store(state_directory(context.environ), works=works, ends=True) as store:
        yield store
