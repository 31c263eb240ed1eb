"""The flag `--sign` of all commands that push what they make."""

from __future__ import annotations

from polyarch.cli.frame.command import Context
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.record import replace
from polyarch.request.signing import Signing, parse_signing

__all__ = ["SIGN_FLAG", "signing_flag"]

SIGN_FLAG = Flag(
    name="sign",
    kind=Kind.LIST,
    help='Sign what is pushed, by a key or an identity ("key=cosign.key", "keyless")',
)


def signing_flag(options: Options, context: Context) -> tuple[Signing, ...]:
    """Return who signs; an identity may log in if somebody is there. Raises InputError."""
    is_there = context.stdin.isatty() and context.stderr.isatty()
    found = map(parse_signing, options.values("sign"))
    return tuple(replace(each, may_ask=is_there and not each.key) for each in found)
