"""Places in a source text, and how they are shown. Never part of a digest."""

from __future__ import annotations

from polyarch.record import field, frozen

__all__ = ["Location", "SourceText"]

_CONTEXT_LINES = 2
_EXCERPT_RULE = "-" * 20


@frozen
class SourceText:
    """A source file as it was read; `name` is what messages call it."""

    name: str
    text: str = field(repr=False)

    def lines(self) -> list[str]:
        """The lines, without their ends."""
        return self.text.split("\n")


@frozen
class Location:
    """Lines `start` to `end` of a source, counted from 1, both included."""

    source: SourceText
    start: int
    end: int

    @property
    def line(self) -> int:
        """The first line."""
        return self.start

    def excerpt(self) -> str:
        """Show the lines around the place as BuildKit does, those of the place marked with `>>>`."""
        lines = self.source.lines()
        start, end = max(1, self.start), min(self.end, len(lines))
        pad = max(0, 2 * _CONTEXT_LINES - (end - start)) // 2
        first, last = max(1, start - max(pad, 1)), min(len(lines), end + max(pad, 1))
        shown = [f"{self.source.name}:{self.start}", _EXCERPT_RULE]
        for number in range(first, last + 1):
            marker = ">>>" if start <= number <= end else "   "
            shown.append(f" {number:3d} | {marker} {lines[number - 1].rstrip(chr(13))}")
        return "\n".join([*shown, _EXCERPT_RULE, ""])
