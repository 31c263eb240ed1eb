"""Those who look on while something is done for a program: functions, people, tasks that may be cancelled."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Literal, TypeVar

from polyarch.errors import PolyarchError
from polyarch.progress import CancelToken, Event, Sink

__all__ = ["Progress", "in_thread", "shown"]

Progress = Literal["auto", "plain", "tty", "rawjson", "quiet"]
"""How something is shown on standard error, as `--progress` has it."""

_T = TypeVar("_T")


@contextmanager
def shown(progress: Progress | None, sink: Sink, **caption: str) -> Iterator[Sink]:
    """Give a sink that shows events to people as well; `caption` has the fields of the display's."""
    if progress is None:
        yield sink
        return
    # For those who want to see something only.
    from polyarch.cli.display import base, display  # noqa: PLC0415

    made = display.open_display(
        progress, stream=sys.stderr, environ=os.environ, caption=base.Caption(**caption)
    )

    def both(event: Event) -> None:
        made(event)
        sink(event)

    with made:
        yield both


async def in_thread(work: Callable[[CancelToken], _T], cancel: CancelToken | None) -> _T:
    """Do `work` in a thread of its own; a task that is cancelled waits until it has ended, too."""
    # Half as much to load as all the rest, for those who use it only.
    import asyncio  # noqa: PLC0415

    own = CancelToken()
    forget = cancel.on_cancel(own.cancel) if cancel is not None else lambda: None
    pool = ThreadPoolExecutor(1, "polyarch")
    try:
        done = asyncio.get_running_loop().run_in_executor(pool, work, own)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            own.cancel()
            with contextlib.suppress(PolyarchError):
                await done
            raise
    finally:
        forget()
        pool.shutdown(wait=False)
