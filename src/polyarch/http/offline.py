"""Without the network: who says so, and what anybody who tries nevertheless is told.

`$POLYARCH_OFFLINE`, which `--offline` sets, keeps all that speaks HTTP from making a connection, to this machine as well: what a
build takes is then known before it begins.
"""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.errors import InputError
from polyarch.golang.strconv import find_bool

__all__ = ["OFFLINE_HINT", "OFFLINE_VARIABLE", "Offline", "is_offline"]

OFFLINE_VARIABLE = "POLYARCH_OFFLINE"
OFFLINE_HINT = "leave out --offline, or fetch it before while there is a network"


class Offline(OSError):
    """A connection that isn't made."""

    def __str__(self) -> str:
        return "nothing is asked of others (--offline)"


def is_offline(environ: Mapping[str, str]) -> bool:
    """Tell whether the network isn't to be used. Raises InputError."""
    text = environ.get(OFFLINE_VARIABLE, "")
    found = find_bool(text) if text else False
    if found is None:
        raise InputError(
            f"{OFFLINE_VARIABLE}={text} is neither true nor false", hint="write 1 or 0"
        )
    return found
