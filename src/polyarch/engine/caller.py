"""Somebody far away for whom a build is done, as the engine knows them: what it asks of them in place of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from polyarch.graph.reads import ContextRead
from polyarch.progress import Sink
from polyarch.registry.credentials import Credentials
from polyarch.worker.secrets import SecretSource

__all__ = ["Caller", "Reads"]

Reads = Mapping[str, ContextRead]
"""What is read of build contexts, by their names."""


class Caller(Protocol):
    """Who is asked while a build goes on, from any thread.

    Looking up a secret or an agent asks for it; those that were found are told again when one goes through them.
    """

    @property
    def secrets(self) -> Mapping[str, SecretSource]:
        """The secrets by id."""

    @property
    def agents(self) -> Mapping[str, str]:
        """The sockets of ssh agents by id."""

    @property
    def credentials(self) -> Credentials:
        """Who they are at registries."""

    def bring(self, reads: Reads, sink: Sink) -> None:
        """Bring the files of build contexts to where the request says that these are; shown to `sink`."""
