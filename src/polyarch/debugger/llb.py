"""A daemon's graph as debuggers see it: LLB, read no further than people are shown of it.

Source: BuildKit's `solver/pb/ops.proto`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from polyarch.buildkit.llb.numbers import BIND, CACHE, DIFF, EXEC, FILE, MERGE, SOURCE
from polyarch.debugger.node import Input, Node, Program
from polyarch.digest import Digest
from polyarch.platforms import Platform
from polyarch.record import field as record_field
from polyarch.record import frozen
from polyarch.serve.llb.definition import Definition, Op, read_definition
from polyarch.wire import Message, field, present_number

__all__ = ["Graph", "read_graph"]

_COMMAND = "com.docker.dockerfile.v1.command"
_IMAGE = "docker-image://"


@frozen
class Graph:
    """A definition, and its vertices; `wanted` is None where it is for nothing."""

    data: bytes = record_field(repr=False)
    definition: Definition
    nodes: dict[Digest, Node]

    @property
    def wanted(self) -> Node | None:
        """The vertex whose result it is for."""
        wanted = self.definition.wanted
        return self.nodes[wanted.op] if wanted is not None else None

    @property
    def is_placed(self) -> bool:
        """Whether any vertex stands in a text."""
        return bool(self.definition.locations)

    def is_wanted(self, wanted: Input) -> bool:
        """Whether a result is that of the definition."""
        found = self.definition.wanted
        return found is not None and (found.op, found.output) == (wanted.node.key, wanted.output)

    def part(self, wanted: Input) -> bytes:
        """Return a definition for another one of the results."""
        whole = Message(self.data)
        head = field(1, field(1, wanted.node.key) + field(2, wanted.output))
        return b"".join(
            (
                *(field(1, each) for each in whole.all(1)[:-1]),
                field(1, head),
                *(field(2, each) for each in whole.all(2)),
                *(field(3, each) for each in whole.all(3)),
            )
        )

    def mounts(self, node: Node) -> Sequence[tuple[bytes, Input | None]]:
        """Return the mounts of an exec as they are written but for their inputs, and these."""
        op = self.definition.ops[Digest(node.key)]
        found = []
        for mount in op.message.all(2):
            number = Message(mount).integer(1)
            given = node.inputs[number] if 0 <= number < len(node.inputs) else None
            found.append((mount + present_number(1, -1), given))
        return found


def read_graph(data: bytes) -> Graph:
    """Read a definition. Raises IntegrityError."""
    definition = read_definition(data)
    nodes: dict[Digest, Node] = {}
    for digest, op in definition.ops.items():
        nodes[digest] = _node(op, definition, nodes.__getitem__)
    return Graph(data=data, definition=definition, nodes=nodes)


def _node(op: Op, definition: Definition, find: Callable[[Digest], Node]) -> Node:
    mounted = _mounted(op)
    inputs = tuple(
        Input(
            node=find(each.op),
            label=mounted.get(number) or _label(definition.ops[each.op]),
            output=each.output,
        )
        for number, each in enumerate(op.inputs)
    )
    return Node(
        key=op.digest,
        name=op.name or op.description.get(_COMMAND, ""),
        inputs=inputs,
        parent=_parent(op, mounted),
        location=definition.locations.get(op.digest),
        platform=_platform(op),
        program=_program(op) if op.kind == EXEC else None,
    )


def _platform(op: Op) -> Platform | None:
    is_image = op.kind == SOURCE and op.message.text(1).startswith(_IMAGE)
    return op.platform if op.kind == EXEC or is_image else None


def _mounted(op: Op) -> dict[int, str]:
    """Return where inputs of an exec are mounted, by their numbers."""
    if op.kind != EXEC:
        return {}
    mounts = [each for each in op.message.messages(2) if each.integer(6) in {BIND, CACHE}]
    return {each.integer(1): each.text(3) for each in reversed(mounts)}


def _parent(op: Op, mounted: dict[int, str]) -> int:
    count = len(op.inputs)
    if op.kind == EXEC:
        found = [number for number, target in mounted.items() if target == "/"]
    elif op.kind == FILE:
        found = [each.integer(1) for each in op.message.messages(2)]
    else:
        found = [0] if op.kind in {MERGE, DIFF} else []
    return next((each for each in found if 0 <= each < count), -1)


def _label(op: Op) -> str:
    return op.message.text(1) if op.kind == SOURCE else op.name or op.digest


def _program(op: Op) -> Program:
    meta = Message(op.message.bytes(1))
    return Program(
        argv=tuple(meta.texts(1)),
        env=tuple(meta.texts(2)),
        cwd=meta.text(3),
        user=meta.text(4),
    )
