"""Running a step while its emulator is watched: for what it says when it crashes, and for standing still."""

from __future__ import annotations

import signal
from pathlib import Path

from polyarch.errors import Cancelled
from polyarch.progress import CancelToken
from polyarch.runtime.base import Ended, Runtime
from polyarch.runtime.step import Step
from polyarch.worker.emulated.crash import CrashWatch
from polyarch.worker.emulated.hang import watching
from polyarch.worker.steplog import StepLog

__all__ = ["run_watched"]

_SIGNALLED = 128


def run_watched(
    runtime: Runtime,
    step: Step,
    directory: Path,
    log: StepLog,
    *,
    cancel: CancelToken,
    seconds: float,
) -> tuple[Ended, str]:
    """Run an emulated step; return how it ended, and what its emulator did wrong ("" if nothing).

    One in which nothing moves for `seconds` is ended (0: none is). Raises what running it raises, Cancelled.
    """
    crash = CrashWatch()

    def write(stream: int, data: bytes) -> None:
        crash.feed(stream, data)
        log.write(stream, data)

    try:
        root = Path(step.rootfs)
        with watching(root, seconds, cancel, lambda: bool(crash.crash)) as watch:
            ended = runtime.run(step, directory=directory, on_output=write, cancel=watch.token)
    except Cancelled:
        cancel.check()
        # What it would have ended with by itself, if it could have.
        ended = Ended(status=_SIGNALLED + (crash.signal or signal.SIGKILL))
        if not crash.crash:
            return ended, (
                f"it hung: for {seconds:g} s none of its processes did anything, "
                "and each waited for another"
            )
    finally:
        log.end()
    if ended.status == 0 or not crash.crash:
        return ended, ""
    return ended, f"the emulator crashed: {crash.crash}"
