"""Docker's global flags: it hands its own on to plugins, and who calls us in its place may give them.

Those that choose an engine, or docker's directory, do what the variables do; the others are for docker alone.
"""

from __future__ import annotations

from polyarch.cli.frame.command import Context
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.record import replace

__all__ = ["DOCKER_FLAGS", "with_docker_flags"]

DOCKER_FLAGS = (
    Flag(name="config"),
    Flag(name="context", short="c"),
    Flag(name="host", short="H", kind=Kind.LIST),
    Flag(name="log-level", short="l"),
    Flag(name="tls", kind=Kind.SWITCH),
    Flag(name="tlscacert"),
    Flag(name="tlscert"),
    Flag(name="tlskey"),
    Flag(name="tlsverify", kind=Kind.SWITCH),
)
_VARIABLES = {"config": "DOCKER_CONFIG", "context": "DOCKER_CONTEXT", "host": "DOCKER_HOST"}


def with_docker_flags(options: Options, context: Context) -> Context:
    """Set the variables that the flags stand for."""
    chosen = {name: options.text(flag) for flag, name in _VARIABLES.items() if options.given(flag)}
    return replace(context, environ={**context.environ, **chosen}) if chosen else context
