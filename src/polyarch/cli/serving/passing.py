"""`dial-stdio` with a builder of other machines: the client speaks with its daemon."""

from __future__ import annotations

from polyarch.builders.values import SavedBuilder
from polyarch.buildkit.build import Remote
from polyarch.buildkit.relay import relay
from polyarch.cli.builders.daemons import daemons
from polyarch.cli.builders.driving import boot_all
from polyarch.cli.frame.command import Context
from polyarch.cli.frame.flags import Options
from polyarch.errors import MachineError
from polyarch.platforms import parse

__all__ = ["pass_on"]

_SILENT = frozenset({"", "none", "quiet"})


def pass_on(builder: SavedBuilder, options: Options, context: Context) -> int:
    """Pass the client at standard input and output on; return the exit status. Raises PolyarchError."""
    if options.text("progress") not in _SILENT:
        context.warn(f"#0 builder: {builder.name}")
        context.stderr.flush()
    # The only call is the client's own.
    boot_all(builder, context, asks=False)
    remote = _remote(builder, options.text("platform"), context)
    try:
        relay(remote.target)
    except OSError as error:
        raise MachineError(
            f"the builder at {remote.address} can't be reached: {error.strerror or error}",
            hint=f"look whether it runs: {context.program} inspect {builder.name}",
        ) from error
    return 0


def _remote(builder: SavedBuilder, platform: str, context: Context) -> Remote:
    """Return the node that says that it is for a platform, or else the first."""
    found = daemons(builder, context.environ)
    wanted = parse(platform) if platform else None
    fitting = [remote for node, remote in found if wanted in node.platforms]
    return (fitting or [remote for _, remote in found])[0]
