"""Definitions and files of them that are elsewhere, fetched while the definition is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from polyarch.bakefile.access import Access, RemoteFile, Tree
from polyarch.bakefile.allowed import Allowed, Missing
from polyarch.cli.baking.permissions import ask_for
from polyarch.cli.display.display import open_display
from polyarch.cli.frame.command import Context
from polyarch.paths import state_directory
from polyarch.progress import CancelToken
from polyarch.record import replace

if TYPE_CHECKING:
    from polyarch.pipeline.definitions import Definitions

__all__ = ["open_access"]


@contextmanager
def open_access(
    allowed: Allowed, context: Context, progress: str, *, is_remote: bool
) -> Iterator[Access]:
    """Give what a definition is read with. What it fetches is there until the block ends."""
    granted: set[str] = set()

    def ask(lacks: Missing) -> None:
        if not granted.issuperset(lacks.values):
            ask_for(lacks, context)
            granted.update(lacks.values)

    with _Fetching(context, progress) as fetching:
        yield Access(
            allowed=allowed,
            environ=context.environ,
            is_remote=is_remote,
            ask=ask,
            fetch=fetching.fetch,
        )


class _Fetching(ExitStack):
    """Opens the store when something is fetched, and closes it at the end: a build has its own engine."""

    def __init__(self, context: Context, progress: str) -> None:
        super().__init__()
        self._context = context
        self._progress = progress
        self._definitions: Definitions | None = None

    def fetch(self, address: str) -> Tree | RemoteFile:
        # Most of what follows is loaded by builds only.
        from polyarch.cli.frame.interrupt import cancel_on_signals  # noqa: PLC0415

        # One display for each: threads of it must be gone before the engine is forked.
        with (
            cancel_on_signals() as cancel,
            open_display(
                self._progress, stream=self._context.stderr, environ=self._context.environ
            ) as display,
        ):
            return replace(self._opened(), sink=display, cancel=cancel).fetch(address)

    def _opened(self) -> Definitions:
        if self._definitions is None:
            from polyarch.pipeline.definitions import Definitions  # noqa: PLC0415
            from polyarch.store.store import Store  # noqa: PLC0415

            environ = self._context.environ
            store = self.enter_context(Store(state_directory(environ)))
            self._definitions = Definitions(
                store=store, sink=lambda _: None, cancel=CancelToken(), environ=environ
            )
        return self._definitions
