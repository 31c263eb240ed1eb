"""What a step gets because of the network that this machine is in."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from polyarch.graph.op import GitOp, HttpOp
from polyarch.record import field, frozen, replace
from polyarch.runtime.step import Mount, Network, Step

__all__ = ["Around"]


def _nothing() -> Mapping[GitOp | HttpOp, str]:
    return {}


@frozen
class Around:
    """Mounts; variables that stand above the step's own, and `defaults` below; a network that is there already.

    `fetched` gives the digests of what the step fetched by it, once it has ended.
    """

    mounts: tuple[Mount, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    defaults: Mapping[str, str] = field(default_factory=dict)
    network_namespace: str = ""
    fetched: Callable[[], Mapping[GitOp | HttpOp, str]] = field(default=_nothing, compare=False)

    def on(self, step: Step) -> Step:
        """Return the step in that network."""
        if not self.network_namespace:
            return step
        return replace(step, network=Network.NONE, network_namespace=self.network_namespace)
