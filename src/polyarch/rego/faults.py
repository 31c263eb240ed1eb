"""Faults of policies, with their places."""

from __future__ import annotations

from typing import NamedTuple

from polyarch.errors import InputError
from polyarch.graph.location import Location, SourceText

__all__ = ["At", "RegoError"]


class At(NamedTuple):
    """A place in a module: `offset` counts characters."""

    source: SourceText
    offset: int

    @property
    def line(self) -> int:
        """The line, counted from 1."""
        return self.source.text.count("\n", 0, self.offset) + 1

    def __str__(self) -> str:
        """Write it as messages begin: `Dockerfile.rego:3`."""
        return f"{self.source.name}:{self.line}"


class RegoError(InputError):
    """A policy that can't be read, or that can't be evaluated; its text begins with the place."""

    def __init__(self, message: str, at: At, *, kind: str = "rego_parse_error") -> None:
        line = at.line
        super().__init__(
            f"{at}: {kind}: {message}", place=Location(source=at.source, start=line, end=line)
        )
