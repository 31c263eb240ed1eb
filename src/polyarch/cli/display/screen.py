"""A small terminal for what a step prints: bytes -> the lines that would be seen.

It knows what build tools use: new lines, carriage returns, backspaces, tabs, moving up, down and along, and
erasing to the end of the line. Colours and everything else are taken out.
"""

from __future__ import annotations

import re

from polyarch.cli.display.cells import cell_width
from polyarch.pattern import pattern

__all__ = ["screen_lines"]

_TOKEN = pattern(
    r"\x1b\[(?P<arguments>[0-9;?]*)[ -/]*(?P<final>[@-~])"  # control sequences
    r"|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?"  # titles and links
    r"|\x1b."  # other escapes
    r"|(?P<control>[\x00-\x1f\x7f])"
    r"|(?P<text>[^\x00-\x1f\x7f]+)",
    re.DOTALL,
)
_TAB = 8


def screen_lines(data: bytes, *, width: int, height: int) -> list[str]:
    """Return the last `height` lines of a screen `width` cells wide, without those that are blank."""
    screen = _Screen(max(1, width))
    for match in _TOKEN.finditer(data.decode(errors="replace")):
        if match["text"] is not None:
            screen.write(match["text"])
        elif match["control"] is not None:
            screen.control(match["control"])
        elif match["final"] is not None:
            screen.move(match["final"], match["arguments"])
    lines = ["".join(cells).rstrip() for cells in screen.rows[-height:]] if height > 0 else []
    return [line for line in lines if line]


def _count(argument: str) -> int:
    """Return how far to move: 1 if nothing is said, or more than any screen has."""
    return int(argument) if argument.isdigit() and len(argument) < 5 else 1


class _Screen:
    """Rows of cells; a cell holds a character, or "" behind one that takes two."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.rows: list[list[str]] = [[]]
        self.row = 0
        self.column = 0

    def write(self, text: str) -> None:
        if text.isascii():
            while text:
                if self.column >= self.width:
                    self._new_line()
                room = self.width - self.column
                self._put(list(text[:room]))
                text = text[room:]
            return
        for char in text:
            size = cell_width(char)
            if size == 0:
                continue
            if self.column + size > self.width:
                self._new_line()
            self._put([char, ""][:size])

    def control(self, char: str) -> None:
        match char:
            case "\n":
                self._new_line()
            case "\r":
                self.column = 0
            case "\b":
                self.column = max(0, self.column - 1)
            case "\t":
                self.column = min(self.width - 1, (self.column // _TAB + 1) * _TAB)
            case _:
                pass

    def move(self, final: str, arguments: str) -> None:
        first = arguments.partition(";")[0]
        count = _count(first)
        match final:
            case "A":
                self.row = max(0, self.row - count)
            case "B":
                self.row = min(len(self.rows) - 1, self.row + count)
            case "C":
                self.column = min(self.width - 1, self.column + count)
            case "D":
                self.column = max(0, self.column - count)
            case "G":
                self.column = min(self.width, max(1, count)) - 1
            case "K":
                self._erase(0 if first in {"", "0"} else 1)
            case _:
                pass

    def _erase(self, mode: int) -> None:
        row = self.rows[self.row]
        if mode:
            row.clear()
        else:
            del row[self.column :]

    def _new_line(self) -> None:
        self.row += 1
        self.column = 0
        if self.row == len(self.rows):
            self.rows.append([])

    def _put(self, cells: list[str]) -> None:
        row = self.rows[self.row]
        row.extend(" " * (self.column - len(row)))
        row[self.column : self.column + len(cells)] = cells
        self.column += len(cells)
