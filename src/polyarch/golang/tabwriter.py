"""Go's `text/tabwriter`: cells that end with tabs -> columns.

Neighbouring lines make up a column as far as they all have a tab there. A column is as wide as its widest
cell and the padding, and at least the least width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

__all__ = ["align"]


def align(text: str, *, min_width: int, padding: int, tab_width: int = 0) -> str:
    """Turn tabs into blanks so that what stands behind them is aligned.

    With a width of tabs, into as many tabs as that takes.
    """
    lines = [line.split("\t") for line in text.split("\n")]
    if text.endswith("\t"):
        # Without an end of line, what nothing stands behind is no column.
        lines[-1].pop()
    for column, block in _blocks(lines):
        width = max(min_width, max(len(cells[column]) for cells in block) + padding)
        for cells in block:
            if tab_width:
                stop = _tabs(width, tab_width) * tab_width
                cells[column] += "\t" * _tabs(stop - len(cells[column]), tab_width)
            else:
                cells[column] = cells[column].ljust(width)
    return "\n".join("".join(cells) for cells in lines)


def _tabs(width: int, tab_width: int) -> int:
    return -(-width // tab_width)


def _blocks(lines: Sequence[list[str]]) -> Iterator[tuple[int, list[list[str]]]]:
    """Yield for each column, from the left, the runs of lines whose cell in it ends with a tab."""
    for column in range(max(map(len, lines)) - 1):
        block: list[list[str]] = []
        for cells in lines:
            if len(cells) > column + 1:
                block.append(cells)
            elif block:
                yield column, block
                block = []
        if block:
            yield column, block
