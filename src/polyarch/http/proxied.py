"""Whether steps of builds reach the network by a proxy of ours only."""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.errors import InputError
from polyarch.golang.strconv import find_bool

__all__ = ["PROXY_VARIABLE", "is_proxied"]

PROXY_VARIABLE = "POLYARCH_PROXY_NETWORK"
"""What `--proxy-network` sets."""


def is_proxied(environ: Mapping[str, str]) -> bool:
    """Tell whether they do. Raises InputError."""
    text = environ.get(PROXY_VARIABLE, "")
    found = find_bool(text) if text else False
    if found is None:
        raise InputError(f"{PROXY_VARIABLE}={text} is neither true nor false", hint="write 1 or 0")
    return found
