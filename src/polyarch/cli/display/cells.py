"""How wide texts are on a terminal, in cells."""

from __future__ import annotations

__all__ = ["cell_width", "clip_cells"]


def cell_width(text: str) -> int:
    """How many cells a text takes: East Asian characters two, combining ones none."""
    if text.isascii():
        return len(text)
    # rich is only paid for by those who show what isn't ASCII on a terminal.
    from rich.cells import cell_len  # noqa: PLC0415

    return cell_len(text)


def clip_cells(text: str, width: int) -> str:
    """Cut a text after at most `width` cells; a character isn't cut in two."""
    if width <= 0:
        return ""
    if text.isascii():
        return text[:width]
    from rich.cells import set_cell_size  # noqa: PLC0415

    return text if cell_width(text) <= width else set_cell_size(text, width)
