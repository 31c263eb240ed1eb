"""How wide texts are on a terminal, in cells."""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["cell_width", "clip_cells"]


def cell_width(text: str) -> int:
    """How many cells a text takes: East Asian characters two, combining ones none."""
    if text.isascii():
        return len(text)
    return _rich_cells()[0](text)


def clip_cells(text: str, width: int) -> str:
    """Cut a text after at most `width` cells; a character isn't cut in two."""
    if width <= 0:
        return ""
    if text.isascii():
        return text[:width]
    measured, cut = _rich_cells()
    return text if measured(text) <= width else cut(text, width)


def _rich_cells() -> tuple[Callable[[str], int], Callable[[str, int], str]]:
    # rich is only paid for by those who show what isn't ASCII on a terminal.
    from rich.cells import cell_len, set_cell_size  # noqa: PLC0415

    return cell_len, set_cell_size
