"""Vertices as debuggers see them, whether their graph is ours or a daemon's."""

from __future__ import annotations

from polyarch.graph.location import Location
from polyarch.platforms import Platform
from polyarch.record import field, frozen

__all__ = ["Input", "Node", "Program"]


@frozen
class Program:
    """What an exec runs."""

    argv: tuple[str, ...]
    env: tuple[str, ...]
    cwd: str
    user: str


@frozen
class Input:
    """A result that a vertex takes; `label` is what people know it by: where it is mounted, or what it is."""

    node: Node
    label: str
    output: int = 0


@frozen
class Node:
    """A vertex. `parent` is the number of the input that it changes, -1 where there is none.

    `platform` is None where it doesn't matter to what the vertex does.
    """

    key: str
    name: str
    inputs: tuple[Input, ...] = field(default=(), repr=False)
    parent: int = -1
    location: Location | None = field(default=None, repr=False)
    platform: Platform | None = None
    program: Program | None = None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Node) and other.key == self.key

    def __hash__(self) -> int:
        return hash(self.key)

    @property
    def root(self) -> Input | None:
        """What it changes."""
        return self.inputs[self.parent] if self.parent >= 0 else None
