"""The flags that say how commands use the network, for all that speak to registries."""

from __future__ import annotations

from polyarch.cli.frame.command import Context
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.errors import InputError
from polyarch.http.offline import OFFLINE_VARIABLE, is_offline
from polyarch.record import replace

__all__ = ["OFFLINE", "check_near", "with_network"]

OFFLINE = Flag(
    name="offline",
    kind=Kind.SWITCH,
    help="Use no network: images are what they are known to be",
)


def with_network(options: Options, context: Context) -> Context:
    """Return the context of a command with what its flags say of the network, as variables."""
    found: dict[str, str] = {}
    if options.is_set("offline"):
        found[OFFLINE_VARIABLE] = "1"
    return replace(context, environ={**context.environ, **found}) if found else context


def check_near(context: Context) -> None:
    """Refuse to build on other machines without a network. Raises InputError."""
    if is_offline(context.environ):
        raise InputError(
            "a builder of another machine can't be used offline",
            hint="build here: --builder default",
        )
