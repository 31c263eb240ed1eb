"""What is asked of every driver, and how a node is."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

from polyarch.buildkit.build import Remote
from polyarch.progress import Sink

__all__ = ["NodeDriver", "Status"]


class Status(StrEnum):
    """How a node is: never made, running, or made and not running."""

    INACTIVE = "inactive"
    RUNNING = "running"
    STOPPED = "stopped"


class NodeDriver(Protocol):
    """The daemon of one node. Everything raises PolyarchError."""

    def remote(self) -> Remote:
        """Return how it is reached once it runs."""

    def check(self) -> None:
        """Raise for what stands in the way of making it later; a cluster may be out of reach until then."""

    def status(self) -> Status:
        """Look how it is; one that nobody starts but its owner counts as running."""

    def boot(self, sink: Sink) -> None:
        """Make it and start it, as far as that isn't done."""

    def stop(self) -> None:
        """Stop it, and keep what it has."""

    def remove(self, *, keeps_state: bool) -> None:
        """Remove it, and what it has, unless that is kept."""
