"""Somebody far away for whom a build is done, as the engine knows them: what it asks of them in place of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from polyarch.graph.graph import Graph
from polyarch.progress import Sink
from polyarch.registry.credentials import Credentials
from polyarch.worker.secrets import SecretSource

if TYPE_CHECKING:
    from polyarch.worker.work import Left

__all__ = ["Caller"]


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

    @property
    def left(self) -> Left | None:
        """What is told of what steps that fail have left, None if they don't want to know."""

    def bring(self, graph: Graph, sink: Sink) -> None:
        """Bring what a graph reads of build contexts to where the request says that these are; shown to `sink`.

        Raises InputError for a graph that they don't want to be built.
        """
