"""A step -> the images whose programs may be in its root."""

from __future__ import annotations

from polyarch.graph.op import ExecOp, ImageOp
from polyarch.graph.vertex import Vertex
from polyarch.record import frozen

__all__ = ["Bases", "find_bases"]


@frozen
class Bases:
    """`own` is the image that the step's stage begins with, directly or by way of other stages, None for scratch.

    `others` are those that something may have been copied from, in the order of the graph.
    """

    own: ImageOp | None
    others: tuple[ImageOp, ...]


def find_bases(vertex: Vertex) -> Bases:
    """Return the images for the architecture of an exec that its root may have programs of."""
    assert isinstance(vertex.op, ExecOp)
    architecture = vertex.op.platform.architecture
    bottom = vertex
    while bottom.inputs:
        bottom = bottom.inputs[0]
    found: dict[str, ImageOp] = {}
    seen: set[str] = set()
    todo = [vertex]
    while todo:
        each = todo.pop()
        if each.digest in seen:
            continue
        seen.add(each.digest)
        todo += reversed(each.inputs)
        if isinstance(each.op, ImageOp) and each.op.platform.architecture == architecture:
            found.setdefault(each.op.digest, each.op)
    own = found.pop(bottom.op.digest, None) if isinstance(bottom.op, ImageOp) else None
    return Bases(own=own, others=tuple(found.values()))
