"""Definitions: the ops of a graph by their digests, what is known of each, and which of them is wanted."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence

from polyarch.buildkit.llb.numbers import EXEC, PASSTHROUGH, SOURCE
from polyarch.buildkit.messages import read_pairs
from polyarch.digest import Digest, sha256
from polyarch.errors import IntegrityError
from polyarch.golang.json import compact
from polyarch.graph.location import Location, SourceText
from polyarch.graph.op import JSONObject
from polyarch.platforms import Platform, host, normalize
from polyarch.record import field, frozen
from polyarch.wire import Message

__all__ = [
    "RESULT_SCHEME",
    "Definition",
    "Input",
    "Op",
    "Place",
    "platform_of",
    "read_definition",
]


RESULT_SCHEME = "polyarch-result://"
"""What stands for a result that was promised: only we understand it."""


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

    def sources(self) -> Iterator[tuple[str, Mapping[str, str], Platform]]:
        """Yield what is taken from outside: identifiers, their attributes, and platforms."""
        for op in self.ops.values():
            identifier = op.message.text(1)
            if op.kind == SOURCE and not identifier.startswith(RESULT_SCHEME):
                yield identifier, read_pairs(op.message, 2), op.platform

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


@frozen
class Place(Location):
    """Where an op stands in texts that it was made from, as a graph tells it: `told` are BuildKit's details of errors, in JSON."""

    told: tuple[bytes, ...] = ()


def _locations(message: Message) -> Iterator[tuple[str, Location]]:
    """Yield the places of each op that has some, by the op's digest."""
    infos = list(message.messages(2))
    for each in message.messages(1):
        places = [
            (infos[number], list(place.messages(2)))
            for place in Message(each.bytes(2)).messages(1)
            if 0 <= (number := place.integer(1)) < len(infos)
        ]
        lined = [(info, ranges) for info, ranges in places if ranges]
        if not lined:
            continue
        info, ranges = lined[0]
        lines = [Message(one.bytes(end)).integer(1) for one in ranges for end in (1, 2)]
        text = info.bytes(2).decode("utf-8", "replace")
        yield (
            each.text(1),
            Place(
                source=SourceText(name=info.text(1), text=text),
                start=max(1, min(filter(None, lines), default=1)),
                end=max(1, *lines),
                told=tuple(compact(_source(*place)) for place in lined),
            ),
        )


def _source(info: Message, ranges: Sequence[Message]) -> JSONObject:
    """Return a Source of BuildKit's `solver/errdefs`."""
    definition = {"def": [_coded(each) for each in Message(info.bytes(3)).all(1)]}
    return {
        "info": {
            "filename": info.text(1),
            "data": _coded(info.bytes(2)),
            "language": info.text(4),
            "definition": definition if info.all(3) else None,
        },
        "ranges": [
            {"start": _position(each.bytes(1)), "end": _position(each.bytes(2))} for each in ranges
        ],
    }


def _position(data: bytes) -> JSONObject:
    read = Message(data)
    return {"line": read.integer(1), "character": read.integer(2)}


def _coded(data: bytes) -> str:
    return base64.b64encode(data).decode()


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
