"""What the commands of the history have in common."""

from __future__ import annotations

import time

from polyarch.builders.saved import SavedBuilders
from polyarch.builders.values import ELSEWHERE
from polyarch.cli.builders.chosen import working_builder
from polyarch.cli.frame.command import Context
from polyarch.golang.time import time_of
from polyarch.history.records import History
from polyarch.paths import state_directory
from polyarch.record import replace

__all__ = ["duration", "local_time", "open_history"]


def open_history(context: Context) -> History:
    """Return the records of the builder that was asked for. Raises NotFound if there is no such builder."""
    # What a cluster builds is recorded here, by who asked for it; daemons have records of their own.
    builder = working_builder(context, SavedBuilders(context.environ), elsewhere=ELSEWHERE)
    if builder.is_remote:
        from polyarch.cli.builders.daemons import daemons  # noqa: PLC0415 gRPC, for those who have such

        node, remote = daemons(builder, context.environ)[0]
        from polyarch.buildkit.records import DaemonHistory  # noqa: PLC0415

        return DaemonHistory(remote, builder.name, node.name)
    return History(state_directory(context.environ) / "history", builder.name)


def duration(seconds: float) -> str:
    """Write how long a build took as buildx does: `1.5s`, `2m  5s`."""
    if seconds < 60:
        return f"{seconds:.1f}s"
    return f"{int(seconds) // 60}m {int(seconds) % 60:2d}s"


def local_time(seconds: float) -> str:
    """Write a time by RFC 3339, in this machine's zone, to the microsecond."""
    offset = time.localtime(seconds).tm_gmtoff
    moment = time_of(round((seconds + offset) * 1_000_000), per_second=1_000_000)
    sign, minutes = "-" if offset < 0 else "+", abs(offset) // 60
    zone = f"{sign}{minutes // 60:02d}:{minutes % 60:02d}" if offset else "Z"
    return replace(moment, zone=zone).rfc3339()
