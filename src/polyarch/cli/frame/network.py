"""The flags that say how commands use the network, for all that speak to registries."""

from __future__ import annotations

import os

from polyarch.cli.frame.command import Context
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.errors import InputError
from polyarch.http.offline import OFFLINE_VARIABLE, is_offline
from polyarch.http.proxied import PROXY_VARIABLE
from polyarch.record import replace
from polyarch.registry.authorities import CA_VARIABLE, MACHINE

__all__ = [
    "AUTHORITIES",
    "OFFLINE",
    "PROXY_NETWORK",
    "check_near",
    "with_authorities",
    "with_network",
    "with_proxy",
]

OFFLINE = Flag(
    name="offline",
    kind=Kind.SWITCH,
    help="Use no network: images are what they are known to be",
)

AUTHORITIES = Flag(
    name="ca",
    kind=Kind.LIST,
    help='File of CAs that are trusted as well, by what asks registries and in steps ("machine": those of this machine)',
    completes="files",
)


PROXY_NETWORK = Flag(
    name="proxy-network",
    kind=Kind.SWITCH,
    help="Let steps reach nothing but a proxy, which tells what they fetched",
)


def with_proxy(options: Options, context: Context) -> Context:
    """Return the context of a command that has `--proxy-network`, with what that says as a variable."""
    if not options.is_set("proxy-network"):
        return context
    return replace(context, environ={**context.environ, PROXY_VARIABLE: "1"})


def with_network(options: Options, context: Context) -> Context:
    """Return the context of a command that has both flags, with what they say as variables. Raises InputError."""
    if options.is_set("offline"):
        context = replace(context, environ={**context.environ, OFFLINE_VARIABLE: "1"})
    return with_authorities(options, context)


def with_authorities(options: Options, context: Context) -> Context:
    """Return the context of a command that has `--ca`, with what that says as a variable. Raises InputError."""
    named = options.values("ca")
    if not named:
        return context
    known = filter(None, (context.environ.get(CA_VARIABLE, ""),))
    told = ",".join((*known, *map(_absolute, named)))
    return replace(context, environ={**context.environ, CA_VARIABLE: told})


def _absolute(name: str) -> str:
    if name == MACHINE:
        return name
    if "," in name or not os.path.isfile(name):
        raise InputError(f"--ca {name} is no file of CAs", hint="name a file in PEM form")
    return os.path.abspath(name)


def check_near(options: Options, context: Context) -> None:
    """Refuse to build on other machines what these flags are about. Raises InputError."""
    if options.is_set("proxy-network"):
        raise InputError(
            "--proxy-network isn't supported by builders of other machines",
            hint="set it up where their daemons run (proxyNetwork), or build here: --builder default",
        )
    if options.values("ca"):
        raise InputError(
            "--ca isn't supported by builders of other machines",
            hint="set the CA up where their daemons run, or build here: --builder default",
        )
    if is_offline(context.environ):
        raise InputError(
            "a builder of another machine can't be used offline",
            hint="build here: --builder default",
        )
