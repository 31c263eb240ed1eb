"""Traces: what a step was made of when it last ran, to be compared with what it is made of the next time.

A trace holds what goes into the step's keys, in words: the op's cache form, and of each input what it was.
Nothing else: no secret (they are no part of a key), no content of a file. Addresses lose their login, long
texts are cut.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from enum import StrEnum

from polyarch.digest import Digest
from polyarch.graph.graph import Graph
from polyarch.graph.op import GitOp, HttpOp, ImageOp, LocalOp, ScratchOp
from polyarch.graph.vertex import Vertex
from polyarch.pattern import pattern
from polyarch.record import asdict, field, frozen, replace
from polyarch.solver.facts import Facts
from polyarch.solver.key import InputPart
from polyarch.why.seen import Seen

__all__ = [
    "InputKind",
    "Slot",
    "Trace",
    "TracedInput",
    "find_slots",
    "make_trace",
    "reads_the_same",
    "scrubbed",
]

_LOGIN = pattern(r"://[^/\s@]+@")
_LONGEST = 2000
_KEPT = 200


@frozen
class Slot:
    """The place of a step: by it the next build's step is taken for the same.

    `kind` is the op's type; `part` tells apart what an instruction needs beside its own step.
    """

    platform: str
    stage: str
    number: int
    kind: str
    part: str = ""

    def to_text(self) -> str:
        """Write it as the name of a row."""
        return json.dumps([self.platform, self.stage, self.number, self.kind, self.part])

    @staticmethod
    def from_text(text: str) -> Slot:
        """Read what `to_text` wrote. Raises ValueError."""
        platform, stage, number, kind, part = json.loads(text)
        return Slot(platform=platform, stage=stage, number=number, kind=kind, part=part)


class InputKind(StrEnum):
    """What an input comes from."""

    STEP = "step"
    IMAGE = "image"
    LOCAL = "local"
    HTTP = "http"
    GIT = "git"
    SCRATCH = "scratch"


@frozen
class TracedInput:
    """What an input was: `name` says it in words; `version` is its image's digest or its commit.

    `content` has large files by their sizes only unless it `is_whole`.
    """

    identity: str
    content: str = ""
    kind: InputKind = InputKind.STEP
    name: str = ""
    version: str = ""
    is_whole: bool = True


@frozen
class Trace:
    """What a step was made of. `form` is the op's cache form; `text` the instruction.

    `result` is what came of it, as cache records have it, "" if nothing has, or not yet; `is_collected` says
    that it was removed since.
    """

    slot: Slot
    op: Digest
    text: str
    form: Mapping[str, object]
    arguments: tuple[str, ...] = ()
    inputs: tuple[TracedInput, ...] = ()
    keys: tuple[str, ...] = ()
    result: str = field(default="", compare=False)
    is_collected: bool = field(default=False, compare=False)

    def to_json(self) -> str:
        """Write what isn't a column of its own."""
        body = {
            "text": self.text,
            "form": self.form,
            "arguments": self.arguments,
            "inputs": [asdict(each) for each in self.inputs],
            "keys": self.keys,
        }
        return json.dumps(body, separators=(",", ":"))

    @staticmethod
    def from_json(
        slot: Slot, op: Digest, text: str, *, result: str = "", is_collected: bool = False
    ) -> Trace:
        """Read what `to_json` wrote; anything else raises ValueError, KeyError or TypeError."""
        body = json.loads(text)
        return Trace(
            slot=slot,
            op=op,
            text=str(body["text"]),
            form=dict(body["form"]),
            arguments=tuple(body["arguments"]),
            inputs=tuple(
                TracedInput(**{**each, "kind": InputKind(each["kind"])}) for each in body["inputs"]
            ),
            keys=tuple(body["keys"]),
            result=result,
            is_collected=is_collected,
        )


def find_slots(graph: Graph) -> dict[Digest, Slot]:
    """Return the places of all steps; what has none of its own has one below that of its user."""
    slots: dict[Digest, Slot] = {}
    for vertex in reversed(list(graph.vertices())):
        own = _own_slot(vertex)
        if own is not None:
            slots[vertex.digest] = own
        above = slots.get(vertex.digest)
        for index, source in enumerate(vertex.inputs if above is not None else ()):
            assert above is not None
            if source.inputs and source.digest not in slots:
                slots[source.digest] = Slot(
                    platform=above.platform,
                    stage=above.stage,
                    number=above.number,
                    kind=_kind(source),
                    part=f"{above.part}:{index}",
                )
    return slots


def _own_slot(vertex: Vertex) -> Slot | None:
    note = vertex.note
    if note is not None:
        return Slot(
            platform=vertex.platform_name, stage=note.stage, number=note.number, kind=_kind(vertex)
        )
    if vertex.inputs and vertex.name:
        return Slot(platform=vertex.platform_name, stage=vertex.name, number=0, kind=_kind(vertex))
    return None


def _kind(vertex: Vertex) -> str:
    return type(vertex.op).__name__


def make_trace(facts: Facts, slot: Slot, seen: Mapping[tuple[Digest, int], Seen]) -> Trace:
    """Return what a step is made of now. `seen` is what was read by content."""
    vertex = facts.vertex
    note = vertex.note
    parts = _parts(facts)
    return Trace(
        slot=slot,
        op=vertex.cache_digest,
        text=scrubbed(note.text if note else vertex.name),
        # Tuples become lists, as they do in the store: forms are compared.
        form=json.loads(json.dumps(_bounded(vertex.op.cache_form()))),
        arguments=note.arguments if note else (),
        inputs=tuple(
            _input(source, part, seen.get((vertex.digest, index)))
            for index, (source, part) in enumerate(zip(vertex.inputs, parts, strict=True))
        ),
        keys=facts.keys,
        result=facts.record.result if facts.record else "",
    )


def _parts(facts: Facts) -> tuple[InputPart, ...]:
    """Return what was seen of the inputs; of contents that nobody had to read, what the record has."""
    if facts.record is None or all(part.content for part in facts.inputs):
        return facts.inputs
    recorded = facts.record.ingredients().inputs
    if len(recorded) != len(facts.inputs):
        return facts.inputs
    return tuple(
        part if part.content else replace(old, identity=part.identity)
        for part, old in zip(facts.inputs, recorded, strict=True)
    )


def _input(source: Vertex, part: InputPart, seen: Seen | None) -> TracedInput:
    op = source.op
    kind = _KINDS.get(type(op), InputKind.STEP)
    name, version = source.note.text if source.note else source.name, ""
    if isinstance(op, ImageOp):
        name, version = op.reference, op.digest
    elif isinstance(op, LocalOp):
        name = op.name
    elif isinstance(op, ScratchOp):
        name = "an empty root"
    if seen is not None and seen.revision:
        version = seen.revision
    return TracedInput(
        identity=part.identity if kind not in _VOLATILE else "",
        content=part.content or "",
        kind=kind,
        name=scrubbed(name),
        version=version,
        is_whole=part.is_whole,
    )


_KINDS: Mapping[type, InputKind] = {
    ImageOp: InputKind.IMAGE,
    LocalOp: InputKind.LOCAL,
    HttpOp: InputKind.HTTP,
    GitOp: InputKind.GIT,
    ScratchOp: InputKind.SCRATCH,
}
_VOLATILE = frozenset({InputKind.LOCAL, InputKind.HTTP, InputKind.GIT})


def reads_the_same(one: Trace, other: Trace, index: int) -> bool:
    """Whether it is certain that two steps read the same content of their input `index`.

    Where large files weren't read, it is if they are of the same result, or if one result came of both.
    """
    a, b = one.inputs[index], other.inputs[index]
    if not a.content or a.content != b.content:
        return False
    is_one = bool(a.identity) and a.identity == b.identity
    return a.is_whole or is_one or bool(one.result and one.result == other.result)


def scrubbed(text: str) -> str:
    """Return a text without the logins in addresses that it may hold."""
    return _LOGIN.sub("://", text)


def _bounded(value: object) -> object:
    """Return a value whose texts are short enough to be kept; what is cut off has its digest there."""
    if isinstance(value, str):
        if len(value) <= _LONGEST:
            return scrubbed(value)
        digest = hashlib.sha256(value.encode("utf-8", "surrogateescape")).hexdigest()
        return f"{scrubbed(value[:_KEPT])}… ({len(value)} characters, sha256:{digest[:12]}…)"
    if isinstance(value, Mapping):
        return {key: _bounded(each) for key, each in value.items()}
    if isinstance(value, Iterable):
        return [_bounded(each) for each in value]
    return value
