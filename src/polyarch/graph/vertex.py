"""Vertices: an op with its inputs.

A vertex's digest is that of its definition: the op's JSON and the inputs' digests. In it: everything
that makes the vertex do something else. Not in it: the name people see, the place in the Dockerfile,
and whether an earlier result may be used.
"""

from __future__ import annotations

import json

from polyarch.digest import Digest, sha256
from polyarch.graph.location import Location
from polyarch.graph.op import JSONObject, Op
from polyarch.record import field, frozen

__all__ = ["StepNote", "Vertex", "canonical_json", "make_vertex"]


def canonical_json(value: object) -> bytes:
    """Write `value` the same way every time: sorted keys, no blanks, UTF-8."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode("utf-8", "surrogateescape")


@frozen
class StepNote:
    """Which step of the Dockerfile a vertex is, to meet it again in the next build of an edited one.

    `stage` is the stage's name, or its index; `number` counts the steps in it; `text` is the instruction
    as people see it; `arguments` are the names that have their values from ARG.
    """

    stage: str
    number: int
    text: str
    arguments: tuple[str, ...] = ()


@frozen
class Vertex:
    """One step of a build. Two vertices of one digest are the same work.

    `platform_name` is the platform it was made for, as text, to be shown; `ignore_cache` says that no
    earlier result may be used. `note` is None where no instruction stands for the vertex by itself.
    """

    digest: Digest
    op: Op
    inputs: tuple[Vertex, ...] = ()
    name: str = ""
    location: Location | None = None
    platform_name: str = ""
    ignore_cache: bool = False
    note: StepNote | None = None
    cache_digest: Digest = field(repr=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vertex) and other.digest == self.digest

    def __hash__(self) -> int:
        return hash(self.digest)


def make_vertex(
    op: Op,
    inputs: tuple[Vertex, ...] = (),
    *,
    name: str = "",
    location: Location | None = None,
    platform_name: str = "",
    ignore_cache: bool = False,
    note: StepNote | None = None,
) -> Vertex:
    """Make a vertex and compute its digests.

    `digest` names the definition. `cache_digest` names the op alone, in its cache form.
    """
    definition: JSONObject = {
        "op": op.definition(),
        "inputs": [vertex.digest for vertex in inputs],
    }
    return Vertex(
        digest=sha256(canonical_json(definition)),
        op=op,
        inputs=inputs,
        name=name,
        location=location,
        platform_name=platform_name,
        ignore_cache=ignore_cache,
        note=note,
        cache_digest=sha256(canonical_json(op.cache_form())),
    )
