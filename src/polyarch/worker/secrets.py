"""Secrets and ssh agents of a request: read when a step asks, never kept.

Values live in memory and, for as long as a step runs, in a tmpfs of the engine's own mount namespace.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from polyarch.errors import InputError
from polyarch.record import field, frozen

__all__ = ["SecretSource", "Secrets"]

_LIMIT = 500 << 10


@frozen
class SecretSource:
    """Where a secret is: the file `path`, or the variable `env`; "" for not; or its `value`."""

    path: str = ""
    env: str = ""
    value: bytes | None = field(default=None, repr=False)


@frozen
class Secrets:
    """The secrets of a request by id, and the sockets of its ssh agents by id."""

    sources: Mapping[str, SecretSource] = field(default_factory=dict)
    agents: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)

    def find(self, identifier: str) -> bytes | None:
        """Return the bytes of a secret, None if there is none of the id.

        Raises InputError for one that can't be read, or is larger than 500 KiB.
        """
        source = self.sources.get(identifier)
        if source is None:
            return None
        if source.value is not None:
            return _checked(identifier, source.value)
        if source.env:
            value = self.environ.get(source.env)
            return None if value is None else _checked(identifier, os.fsencode(value))
        try:
            with open(source.path, "rb") as stream:
                return _checked(identifier, stream.read(_LIMIT + 1))
        except OSError as error:
            raise InputError(
                f"can't read the secret {identifier} from {source.path}: {error.strerror}"
            ) from error


def _checked(identifier: str, value: bytes) -> bytes:
    if len(value) > _LIMIT:
        raise InputError(f"the secret {identifier} is larger than {_LIMIT >> 10} KiB")
    return value
