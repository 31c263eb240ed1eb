"""Builds by an engine of their own, shown to people if they want that.

    result = polyarch.build(".", tags=["app"], progress="auto")
    result = await polyarch.build_async(".", tags=["app"])

The work is done in `polyarch.library`.
"""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from polyarch.api.watching import Progress, in_thread, shown
from polyarch.library.builder import EngineBuilder
from polyarch.progress import CancelToken, Sink, ignore_events
from polyarch.request.files import Files
from polyarch.request.make import make_request
from polyarch.request.result import BuildResult
from polyarch.request.values import BuildRequest
from polyarch.request.vcs import with_git

if TYPE_CHECKING:
    from typing import Unpack

    from polyarch.request.options import BuildOptions

__all__ = ["Builder", "build", "build_async"]

Context = str | os.PathLike[str] | Files


def build(
    context: Context = ".",
    *,
    sink: Sink = ignore_events,
    progress: Progress | None = None,
    cancel: CancelToken | None = None,
    **options: Unpack[BuildOptions],
) -> BuildResult:
    """Build an image with an engine of its own. See `Builder.build`; several builds share a Builder."""
    request = _request(context, options)
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
    request = _request(context, options)

    def work(token: CancelToken) -> BuildResult:
        with Builder() as builder:
            return builder.run(request, sink=sink, progress=progress, cancel=token)

    return await in_thread(work, cancel)


class Builder(EngineBuilder):
    """This machine's builder, in a process of its own that lives as long as the `with` block.

    Any number of builds may run at a time, each from a thread of its own. Leaving the block cancels
    those that still run. `root` is the directory of the store; else it is where the command line has it.
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
        """Build `context`: a directory, or files by name; the keywords are those of `BuildOptions`.

        As `run` otherwise.
        """
        request = _request(context, options)
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
        with shown(progress, sink, builder="default", driver="polyarch") as watched:
            return self.carry_out(request, sink=watched, cancel=cancel)

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
        request = _request(context, options)
        run = partial(self.run, request, sink=sink, progress=progress)
        return await in_thread(lambda token: run(cancel=token), cancel)


def _request(context: Context, options: BuildOptions) -> BuildRequest:
    return with_git(make_request(context, **options), os.environ)
