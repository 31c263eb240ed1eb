"""Secrets and ssh agents of a request: read when a step asks, never kept.

Values live in memory and, for as long as a step runs, in a tmpfs of the engine's own mount namespace.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import TYPE_CHECKING

from polyarch.errors import InputError, PolyarchError
from polyarch.record import field, frozen
from polyarch.request.secretfile import SECRET_LIMIT

if TYPE_CHECKING:
    from polyarch.request.values import Secret
    from polyarch.worker.masking import Masker

__all__ = ["SecretSource", "Secrets", "sources_of"]


@frozen
class SecretSource:
    """Where a secret is: the file `path`, or the variable `env`; "" for not; or its `value`."""

    path: str = ""
    env: str = ""
    value: bytes | None = field(default=None, repr=False)


def sources_of(secrets: Iterable[Secret]) -> dict[str, SecretSource]:
    """Return where the secrets of a request are, by their ids."""
    return {
        each.id: SecretSource(path=each.path, env=each.env, value=each.value) for each in secrets
    }


@frozen
class Secrets:
    """The secrets of a request by id, and the sockets of its ssh agents by id.

    `masker` is taught what steps must not show, if anything is to be masked; `keys` are files of private keys.
    """

    sources: Mapping[str, SecretSource] = field(default_factory=dict)
    agents: Mapping[str, str] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    masker: Masker | None = None
    keys: tuple[str, ...] = ()

    def find(self, identifier: str) -> bytes | None:
        """Return the bytes of a secret, None if there is none of the id.

        Raises InputError for one that can't be read, or is larger than 500 KiB.
        """
        value = self._read(identifier)
        if value and self.masker is not None:
            self.masker.teach(value)
        return value

    def teach(self) -> None:
        """Teach the masker all secrets, as a step may print one that another step has kept.

        What can be read once only, as a pipe, is left to the step that asks for it, and so is complaining
        of what can't be read.
        """
        if self.masker is None:
            return
        found = []
        for identifier, source in self.sources.items():
            if source.value is not None or source.env or _is_regular(source.path):
                with suppress(PolyarchError):
                    found.append(self._read(identifier))
        for path in filter(_is_regular, self.keys):
            from polyarch.worker.keyagent import read_key  # noqa: PLC0415 for keys only

            with suppress(PolyarchError):
                found.append(read_key(path))
        self.masker.teach(*filter(None, found))

    def _read(self, identifier: str) -> bytes | None:
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
                return _checked(identifier, stream.read(SECRET_LIMIT + 1))
        except OSError as error:
            raise InputError(
                f"can't read the secret {identifier} from {source.path}: {error.strerror}"
            ) from error


def _is_regular(path: str) -> bool:
    try:
        return stat.S_ISREG(os.stat(path).st_mode)
    except OSError:
        return False


def _checked(identifier: str, value: bytes) -> bytes:
    if len(value) > SECRET_LIMIT:
        raise InputError(f"the secret {identifier} is larger than {SECRET_LIMIT >> 10} KiB")
    return value
