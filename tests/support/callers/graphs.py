"""LLB as libraries write it, for callers of BuildKit's API."""

from __future__ import annotations

from typing import Any

from polyarch.buildkit.messages import pairs
from polyarch.digest import Digest, sha256
from polyarch.wire import field

__all__ = [
    "BUILD",
    "DIFF",
    "EXEC",
    "FILE",
    "MERGE",
    "NONE",
    "PASSTHROUGH",
    "SOURCE",
    "Graph",
    "action",
    "meta",
    "mount",
]

EXEC, SOURCE, FILE, BUILD, MERGE, DIFF, PASSTHROUGH = range(2, 9)
NONE = -1


class Graph:
    """Writes a definition op by op."""

    def __init__(self) -> None:
        self._ops: list[bytes] = []
        self._metadata = b""

    def op(
        self,
        kind: int,
        body: bytes,
        *inputs: tuple[Digest, int],
        metadata: bytes = b"",
        platform: bytes = b"",
    ) -> Digest:
        taken = (field(1, field(1, digest) + field(2, index)) for digest, index in inputs)
        # An empty message is there, too.
        told = field(kind, body) or bytes((kind << 3 | 2, 0))
        data = b"".join(taken) + told + field(10, platform)
        self._ops.append(data)
        self._metadata += field(2, field(1, sha256(data)) + field(2, metadata))
        return sha256(data)

    def source(self, identifier: str, **more: Any) -> Digest:
        attributes = more.pop("attributes", {})
        return self.op(SOURCE, field(1, identifier) + pairs(2, attributes), **more)

    def definition(self, *wanted: tuple[Digest, int]) -> bytes:
        last = b"".join(field(1, field(1, digest) + field(2, index)) for digest, index in wanted)
        return b"".join(field(1, each) for each in (*self._ops, last)) + self._metadata


def mount(target: str, number: int = NONE, **more: Any) -> bytes:
    """Write a mount of an exec; by default of nothing, and without an output."""
    fields = {1: number, 3: target, 4: NONE, **{int(k[1:]): v for k, v in more.items()}}
    return field(2, b"".join(field(each, fields[each]) for each in sorted(fields)))


def meta(*argv: str, more: bytes = b"") -> bytes:
    return field(1, b"".join(field(1, each) for each in argv) + field(3, "/w") + more)


def action(number: int, told: bytes, base: int, output: int, source: int = NONE) -> bytes:
    """Write an action of a file op."""
    return field(
        2, field(1, base) + field(2, source) + field(3, output) + (field(number, told) or b"")
    )
