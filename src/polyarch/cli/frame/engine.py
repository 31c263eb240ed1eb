"""The one place where the command line meets the engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from polyarch.cli.frame.command import Context
from polyarch.namespaces.userns import enter_engine
from polyarch.paths import in_engine, state_directory
from polyarch.record import replace

if TYPE_CHECKING:
    from polyarch.engine.engine import Engine

__all__ = ["enter", "open_engine"]


def enter(context: Context) -> Context:
    """Go on in the engine's namespaces, in a child; to be called before any thread starts."""
    environ = in_engine(context.environ)
    return replace(context, environ=environ, namespaces=enter_engine())


@contextmanager
def open_engine(context: Context) -> Iterator[Engine]:
    """Open the engine; `context` is one that `enter` returned."""
    # Emulators are installed without it.
    from polyarch.engine.opening import open_engine as open_at  # noqa: PLC0415

    assert context.namespaces is not None
    root = state_directory(context.environ)
    with open_at(root, context.namespaces, context.environ) as engine:
        yield engine
