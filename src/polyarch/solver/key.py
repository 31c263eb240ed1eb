"""Cache keys: the names under which a step's result is looked for.

A vertex that is *known* has an identity: a text that names its result. A key is made of the op in its
cache form and, for every input, of what the op can see of it:

    fast    the identities of all inputs: to be had without loading anything
    slow    for inputs that the op reads by content, the digest of what it reads there instead
    alike   the same, where that digest has large files by their sizes only, since nobody read them

What is under an `alike` key are candidates: records of what looks the same, each under the key with
the identity of its result behind it (`candidate_key`). They are compared, byte by byte.

What is in a key and what isn't, is said in docs/solver.md.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import NewType

from polyarch.digest import Digest, sha256
from polyarch.graph.op import GitOp, HttpOp, LocalOp
from polyarch.graph.vertex import Vertex, canonical_json
from polyarch.record import asdict, frozen

__all__ = [
    "CacheKey",
    "Content",
    "Ingredients",
    "InputPart",
    "candidate_key",
    "fast_key",
    "has_lasting_identity",
    "slow_key",
]

CacheKey = NewType("CacheKey", str)


@frozen
class Content:
    """What an op reads of an input.

    Unless it `is_whole`, the digest has large files by their sizes only: equal ones look alike, no more.
    """

    digest: Digest
    is_whole: bool = True


@frozen
class InputPart:
    """What a step saw of one input; `content` is None unless it was read by content.

    `is_whole` is that of the Content.
    """

    identity: str
    content: Digest | None = None
    is_whole: bool = True


@frozen
class Ingredients:
    """All that went into the keys of one result, kept beside it to tell later why a key differs.

    `op` is the digest of the op's cache form.
    """

    op: Digest
    inputs: tuple[InputPart, ...]

    @property
    def is_whole(self) -> bool:
        """Whether all contents are."""
        return all(part.is_whole for part in self.inputs)

    def to_json(self) -> str:
        """Write as one line of JSON."""
        return json.dumps(asdict(self), separators=(",", ":"))

    @staticmethod
    def from_json(text: str) -> Ingredients:
        """Read what `to_json` wrote; anything else raises KeyError, TypeError or ValueError."""
        fields = json.loads(text)
        return Ingredients(
            op=Digest(fields["op"]),
            inputs=tuple(InputPart(**part) for part in fields["inputs"]),
        )


def has_lasting_identity(vertex: Vertex) -> bool:
    """Whether the identity of `vertex` means anything to another solve.

    That of a directory doesn't: it is read where it lies, and may change without notice. Nor does that of
    a web server's file or a branch of a repository.
    """
    return not isinstance(vertex.op, LocalOp | HttpOp | GitOp)


def fast_key(vertex: Vertex, inputs: Sequence[InputPart]) -> CacheKey | None:
    """Return the key made of the inputs' identities; None if one of them doesn't last."""
    if not all(map(has_lasting_identity, vertex.inputs)):
        return None
    return _key("fast", vertex, [part.identity for part in inputs])


def slow_key(vertex: Vertex, inputs: Sequence[InputPart]) -> CacheKey | None:
    """Return the key made of contents where they are known, else of identities.

    It is an `alike` key if one of the contents isn't whole. None if no content is known (the fast key
    says the same) or if an identity doesn't last.
    """
    if all(part.content is None for part in inputs):
        return None
    pairs = zip(vertex.inputs, inputs, strict=True)
    if not all(part.content is not None or has_lasting_identity(source) for source, part in pairs):
        return None
    seen = [
        ["identity", part.identity] if part.content is None else ["content", part.content]
        for part in inputs
    ]
    return _key("slow" if all(part.is_whole for part in inputs) else "alike", vertex, seen)


def candidate_key(alike: CacheKey, identity: str) -> CacheKey:
    """Return the key of one of the records that an `alike` key stands for, by its result's identity."""
    return CacheKey(f"{alike}/{identity}")


def _key(kind: str, vertex: Vertex, inputs: Sequence[object]) -> CacheKey:
    return CacheKey(sha256(canonical_json([kind, vertex.cache_digest, inputs])))
