"""What programs call: builds by an engine of their own, shown to people if they want that.

    result = polyarch.build(".", tags=["app"], progress="auto")
    result = await polyarch.build_async(".", tags=["app"])

It stands above the command line only for its displays; the rest is in `polyarch.library`.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Literal

from polyarch.errors import PolyarchError
from polyarch.library.builder import EngineBuilder
from polyarch.progress import CancelToken, Event, Sink, ignore_events
from polyarch.request.files import Files
from polyarch.request.make import make_request
from polyarch.request.result import BuildResult
from polyarch.request.values import BuildRequest

if TYPE_CHECKING:
    from typing import Unpack

    from polyarch.request.options import BuildOptions

__all__ = ["Builder", "Progress", "build", "build_async"]

Context = str | os.PathLike[str] | Files
Progress = Literal["auto", "plain", "tty", "rawjson", "quiet"]
"""How a build is shown on standard error, as `--progress` has it."""


def build(
    context: Context = ".",
    *,
    sink: Sink = ignore_events,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
    **options: Unpack[BuildOptions],
) -> BuildResult:
    """Build an image with an engine of its own. See `Builder.build`; several builds share a Builder."""
    request = make_request(context, **options)
    with Builder() as builder:
        return builder.run(request, sink=sink, progress=progress, cancel=cancel)


async def build_async(
    context: Context = ".",
    *,
    sink: Sink = ignore_events,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
    **options: Unpack[BuildOptions],
) -> BuildResult:
    """Build as `build` does, in a thread; cancelling the task cancels the build and waits for its end."""
    request = make_request(context, **options)

    def work(token: CancelToken) -> BuildResult:
        with Builder() as builder:
            return builder.run(request, sink=sink, progress=progress, cancel=token)

    return await _in_thread(work, cancel)


class Builder(EngineBuilder):
    """This machine's builder, in a process of its own that lives as long as the `with` block.

    Any number of builds may run at a time, each from a thread of its own. Leaving the block cancels
    those that still run. `root` is the folder of the store; else it is where the command line has it.
    """

    def build(
        self,
        context: Context = ".",
        *,
        sink: Sink = ignore_events,
        progress: Progress | None = None,
        cancel: CancelToken | None = None,
        **options: Unpack[BuildOptions],
    ) -> BuildResult:
        """Build `context`: a folder, or files by name; the keywords are those of `BuildOptions`.

        As `run` otherwise.
        """
        request = make_request(context, **options)
        return self.run(request, sink=sink, progress=progress, cancel=cancel)

    def run(
        self,
        request: BuildRequest,
        *,
        sink: Sink = ignore_events,
        progress: Progress | None = None,
        cancel: CancelToken | None = None,
    ) -> BuildResult:
        """Carry out a request, and return when all of it is done.

        `progress` shows it to people, on standard error. `sink` is called with each event, in order, by
        the calling thread; the build waits while it takes its time. An exception that it raises, or a
        Ctrl-C, cancels the build, and goes on when that has ended. Raises what the errors module lists:
        Cancelled after `cancel`, StepFailed and so on; MachineError if the engine dies.
        """
        with _shown(progress, sink) as shown:
            return self.carry_out(request, sink=shown, cancel=cancel)

    async def build_async(
        self,
        context: Context = ".",
        *,
        sink: Sink = ignore_events,
        progress: Progress | None = None,
        cancel: CancelToken | None = None,
        **options: Unpack[BuildOptions],
    ) -> BuildResult:
        """Build as `build` does, in a thread, which also calls `sink`.

        Cancelling the task cancels the build, and waits for its end.
        """
        request = make_request(context, **options)
        run = partial(self.run, request, sink=sink, progress=progress)
        return await _in_thread(lambda token: run(cancel=token), cancel)


@contextmanager
def _shown(progress: Progress | None, sink: Sink) -> Iterator[Sink]:
    """Give a sink that shows events to people as well."""
    if progress is None:
        yield sink
        return
    # For those who want to see something only.
    from polyarch.cli.display.base import Caption  # noqa: PLC0415
    from polyarch.cli.display.display import open_display  # noqa: PLC0415

    caption = Caption(builder="default", driver="polyarch")
    display = open_display(progress, stream=sys.stderr, environ=os.environ, caption=caption)

    def both(event: Event) -> None:
        display(event)
        sink(event)

    with display:
        yield both


async def _in_thread(
    work: Callable[[CancelToken], BuildResult], cancel: CancelToken | None
) -> BuildResult:
    """Do `work` in a thread of its own; a task that is cancelled waits until it has ended, too."""
    # Half as much to load as all the rest, for those who use it only.
    import asyncio  # noqa: PLC0415

    own = CancelToken()
    forget = cancel.on_cancel(own.cancel) if cancel is not None else lambda: None
    pool = ThreadPoolExecutor(1, "polyarch build")
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
