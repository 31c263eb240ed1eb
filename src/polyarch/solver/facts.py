"""Who a solve tells of its steps: one who explains why they ran, and one who may refuse them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from polyarch.graph.vertex import Vertex
from polyarch.record import frozen
from polyarch.request.explanation import Outcome
from polyarch.solver.key import CacheKey, InputPart
from polyarch.solver.records import Record

__all__ = ["Facts", "Gate", "Observer", "no_gate"]


@frozen
class Facts:
    """How far one vertex came.

    `identity` is "" while the result has no name; `inputs` is what was seen of its inputs by then, `keys`
    what it was looked for by; `record` is what was found or, after it ran, written. `outcome` is
    None for what nothing happened to.
    """

    vertex: Vertex
    identity: str
    inputs: tuple[InputPart, ...]
    keys: tuple[CacheKey, ...]
    record: Record | None = None
    outcome: Outcome | None = None


class Observer(Protocol):
    """Is told of the steps of a solve that had to run. What it raises, StoreError aside, is a bug."""

    def runs(self, vertex: Vertex, facts: Callable[[Vertex], Facts], /) -> None:
        """A step is about to run; called in the step's thread. `facts` answers for its inputs, too."""

    def ended(self, steps: Iterable[Facts], /) -> None:
        """The solve has ended, whether well or not, and at least one step had to run.

        `steps` are all vertices of the graph, inputs first. Called in the thread that solves.
        """


class Gate(Protocol):
    """Lets steps run, or refuses them."""

    def __call__(self, certain: Sequence[Vertex], /) -> None:
        """Steps are certain to run; nothing has been fetched for them yet. What it raises ends the solve."""


def no_gate(_certain: Sequence[Vertex], /) -> None:
    """Let all steps run."""
