"""Places in a bake file, and the errors that have one.

An error's text begins as HCL's do: `docker-bake.hcl:3,10-17: Summary; Detail`.
"""

from __future__ import annotations

from typing import NamedTuple

from polyarch.errors import BakeFileError
from polyarch.graph.location import Location, SourceText

__all__ = ["HclError", "Range", "Undefined"]


class Range(NamedTuple):
    """Characters `start` to `end`, the latter excluded, of a source."""

    source: SourceText
    start: int
    end: int

    def to(self, other: Range) -> Range:
        """Return the range from this one's start to the other one's end."""
        return Range(self.source, self.start, max(self.end, other.end))

    def _position(self, offset: int) -> tuple[int, int]:
        before = self.source.text[:offset]
        return before.count("\n") + 1, offset - before.rfind("\n")

    @property
    def line(self) -> int:
        """The first line, counted from 1."""
        return self._position(self.start)[0]

    @property
    def location(self) -> Location:
        """The lines of the range, for excerpts."""
        return Location(
            source=self.source,
            start=self._position(self.start)[0],
            end=self._position(max(self.start, self.end))[0],
        )

    def __str__(self) -> str:
        line, column = self._position(self.start)
        last, end = self._position(max(self.start, self.end))
        tail = f"{end}" if last == line else f"{last},{end}"
        return f"{self.source.name}:{line},{column}-{tail}"


class HclError(BakeFileError):
    """A fault in a bake file, with its place."""

    def __init__(self, summary: str, detail: str, at: Range) -> None:
        super().__init__(f"{at}: {summary}; {detail}", place=at.location)
        self.at = at


class Undefined(BakeFileError):
    """A variable or a function that isn't there, before anybody knows where it was asked for."""
