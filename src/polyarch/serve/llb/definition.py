"""Definitions: the ops of a graph by their digests, what is known of each, and which of them is wanted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from polyarch.buildkit.llb.numbers import EXEC, PASSTHROUGH
from polyarch.buildkit.messages import read_pairs
from polyarch.digest import Digest, sha256
from polyarch.errors import IntegrityError
from polyarch.graph.location import Location, SourceText
from polyarch.platforms import Platform, host, normalize
from polyarch.record import field, frozen
from polyarch.wire import Message

__all__ = [
    "Definition",
    "Input",
    "Op",
    "platform_of",
    "read_definition",
]


@frozen
class Input:
    """What an op takes: which output of which other op."""

    op: Digest
    output: int = 0


@frozen
class Op:
    """An op as it came: its kind is the number of the field that it stands in."""

    digest: Digest
    kind: int
    message: Message
    inputs: tuple[Input, ...]
    platform: Platform
    ignores_cache: bool = False
    description: Mapping[str, str] = field(default_factory=dict)
    metadata: Message = field(default_factory=lambda: Message(b""))

    @property
    def name(self) -> str:
        """What its maker calls it, "" for nothing."""
        return self.description.get("llb.customname", "")


@frozen
class Definition:
    """Ops by their digests; `wanted` is what the definition is for, None where that is nothing.

    `locations` are where ops stand in the text that they were made from, if there is one.
    """

    ops: Mapping[Digest, Op]
    wanted: Input | None
    locations: Mapping[str, Location] = field(default_factory=dict)

    def used(self) -> dict[Digest, set[int]]:
        """Return which outputs of each op somebody uses."""
        found: dict[Digest, set[int]] = {}
        inputs = [each for op in self.ops.values() for each in op.inputs]
        for each in (*inputs, *((self.wanted,) if self.wanted is not None else ())):
            found.setdefault(each.op, set()).add(each.output)
        return found


def read_definition(data: bytes) -> Definition:
    """Read a definition, inputs before their users. Raises IntegrityError."""
    message = Message(data)
    known = {each.text(1): Message(each.bytes(2)) for each in message.messages(2)}
    ops: dict[Digest, Op] = {}
    wanted: Input | None = None
    for each in message.all(1):
        digest = sha256(each)
        read = Message(each)
        inputs = tuple(Input(op=Digest(i.text(1)), output=i.integer(2)) for i in read.messages(1))
        for source in inputs:
            if source.op not in ops:
                raise IntegrityError(f"invalid missing input digest {source.op}")
        kind = next((number for number in range(EXEC, PASSTHROUGH + 1) if read.all(number)), 0)
        if kind:
            ops[digest] = _op(digest, kind, read, inputs, known.get(digest, Message(b"")))
        # The last one names what is wanted, and is nothing itself.
        wanted = inputs[0] if not kind and inputs else None
    locations = dict(_locations(Message(message.bytes(3))))
    return Definition(ops=ops, wanted=wanted, locations=locations)


def _locations(message: Message) -> Iterator[tuple[str, Location]]:
    """Yield the first place of each op that has one, by the op's digest."""
    sources = [
        SourceText(name=each.text(1), text=each.bytes(2).decode("utf-8", "replace"))
        for each in message.messages(2)
    ]
    for each in message.messages(1):
        for place in Message(each.bytes(2)).messages(1):
            number, ranges = place.integer(1), list(place.messages(2))
            if ranges and 0 <= number < len(sources):
                lines = [Message(one.bytes(end)).integer(1) for one in ranges for end in (1, 2)]
                start, end = max(1, min(lines)), max(1, *lines)
                yield each.text(1), Location(source=sources[number], start=start, end=end)
                break


def _op(
    digest: Digest, kind: int, read: Message, inputs: tuple[Input, ...], metadata: Message
) -> Op:
    told = Message(read.bytes(10))
    return Op(
        digest=digest,
        kind=kind,
        message=Message(read.bytes(kind)),
        inputs=inputs,
        platform=platform_of(told) if read.all(10) else host(),
        ignores_cache=bool(metadata.integer(1)),
        description=read_pairs(metadata, 2),
        metadata=metadata,
    )


def platform_of(message: Message) -> Platform:
    """Read a platform."""
    return normalize(
        Platform(os=message.text(2), architecture=message.text(1), variant=message.text(3))
    )
