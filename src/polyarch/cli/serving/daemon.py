"""What is set of the server as of BuildKit's daemon, by its flags or in the user's `buildkitd.toml`.

    insecure-entitlements = ["network.host"]    what clients may ask for; all, where nothing is said of it
    [cdi]
      disabled = true
      specDirs = ["/etc/cdi"]

Source: BuildKit's `cmd/buildkitd/config`, `docs/buildkitd.toml.md`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from typing import Any

from polyarch.builders.collecting import user_settings
from polyarch.cli.frame.flags import Flag, Kind, Options
from polyarch.errors import InputError
from polyarch.golang.strconv import quote
from polyarch.record import field, frozen

__all__ = ["DAEMON_FLAGS", "Daemon", "read_daemon"]

_ENTITLEMENTS = ("network.host", "security.insecure", "device")
_VARIABLE = "POLYARCH_CDI_DIRS"

DAEMON_FLAGS = (
    Flag(
        name="allow-insecure-entitlement",
        kind=Kind.LIST,
        help='Let clients ask for this and no others ("network.host", "security.insecure", "device")',
        choices=_ENTITLEMENTS,
    ),
    Flag(name="cdi-disabled", kind=Kind.SWITCH, help="Give steps no devices of CDI"),
    Flag(name="cdi-spec-dir", kind=Kind.LIST, help="Look for specifications of CDI there alone"),
)


@frozen
class Daemon:
    """`allowed` are the entitlements that clients may ask for, None for all; `environ` are variables to add."""

    allowed: frozenset[str] | None = None
    environ: Mapping[str, str] = field(default_factory=dict)


def read_daemon(options: Options, environ: Mapping[str, str]) -> Daemon:
    """Read the flags, and for what they leave out the user's file. Raises InputError."""
    text = user_settings(environ)
    try:
        told: dict[str, Any] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"buildkitd.toml can't be read: {error}") from error
    allowed: Sequence[str] | None = options.values("allow-insecure-entitlement") or _texts(
        told, "insecure-entitlements"
    )
    for each in allowed or ():
        if each not in _ENTITLEMENTS:
            raise InputError(f"unknown entitlement {quote(each)}", hint=", ".join(_ENTITLEMENTS))
    return Daemon(
        allowed=None if allowed is None else frozenset(allowed),
        environ=_devices(options, told.get("cdi"), environ),
    )


def _devices(options: Options, told: object, environ: Mapping[str, str]) -> dict[str, str]:
    config = told if isinstance(told, dict) else {}
    if options.is_set("cdi-disabled"):
        return {_VARIABLE: ""}
    if given := options.values("cdi-spec-dir"):
        return {_VARIABLE: ":".join(given)}
    if _VARIABLE in environ:
        return {}
    if config.get("disabled") is True:
        return {_VARIABLE: ""}
    directories = _texts(config, "specDirs")
    return {} if directories is None else {_VARIABLE: ":".join(directories)}


def _texts(told: Mapping[str, Any], name: str) -> tuple[str, ...] | None:
    found = told.get(name)
    if found is None:
        return None
    if not (isinstance(found, list) and all(isinstance(each, str) for each in found)):
        raise InputError(f"buildkitd.toml: {name} must be a list of texts")
    return tuple(found)
