"""What the solver asks others for: the hands that do the work, and locks between processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, TypeVar

from polyarch.graph.vertex import Vertex
from polyarch.progress import CancelToken
from polyarch.solver.key import Content
from polyarch.solver.slots import SlotKind

__all__ = ["Locks", "Runner"]

R = TypeVar("R")


class Runner(Protocol[R]):
    """Does what vertices say. `R` is a result in hand (a snapshot, say); the solver never looks inside.

    A *source* is a vertex without inputs. `run`, `content`, `is_made_of`, `load`, `identity` and
    `store` are called from several threads at once, the others from the thread that solves: those must
    be quick and without network. Long work ends with Cancelled soon after its token was cancelled.
    """

    def source_identity(self, vertex: Vertex, /) -> str:
        """Name what a source will give, before it is fetched (an image: by its diff IDs).

        Equal contents, equal identity; but that of a LocalOp is new in every solve. Never empty.
        """

    def identity(self, vertex: Vertex, result: R, /) -> str:
        """Name the result of a vertex that has inputs, after it ran. Never empty."""

    def content_inputs(self, vertex: Vertex, /) -> frozenset[int]:
        """Return the indexes of the inputs that the op reads by content."""

    def content(self, vertex: Vertex, index: int, source: R, cancel: CancelToken, /) -> Content:
        """Return what `vertex` reads in its input number `index`, which is `source`.

        It need not be whole, if `is_made_of` can tell the rest: reading large files is put off until
        there is a record of what looks the same.
        """

    def is_made_of(
        self, vertex: Vertex, result: R, inputs: Mapping[int, R], cancel: CancelToken, /
    ) -> bool:
        """Return whether `vertex` would make `result` of these inputs, to the byte.

        `result` is an earlier one of the same op, made of contents that were equal but not whole;
        `inputs` are those of which that is so, by number.
        """

    def run(self, vertex: Vertex, inputs: Sequence[R], cancel: CancelToken, /) -> R:
        """Do the step, or fetch the source. Called at most once for a vertex in one solve."""

    def store(self, vertex: Vertex, result: R, /) -> str:
        """Make the result of a step durable and return the text by which `load` finds it."""

    def load(self, vertex: Vertex, stored: str, cancel: CancelToken, /) -> R | None:
        """Return the result that `store` named so; None if it is gone or damaged.

        For a source `stored` is its identity, and None means that it has to be fetched by `run`.
        """

    def kind(self, vertex: Vertex, /) -> SlotKind:
        """Say which slots running the vertex takes."""


class Locks(Protocol):
    """Locks by name that hold against all threads of all processes on one store."""

    def exclusive(
        self, name: str, *, wait: bool = True, check: Callable[[], None] | None = None
    ) -> AbstractContextManager[bool]:
        """Return a context in which `name` is ours alone; it gives whether it is.

        Without `wait` it gives False if another has it. Else it waits, and calls `check` now and
        then, which ends the waiting by raising. A holder that dies loses the lock.
        """
