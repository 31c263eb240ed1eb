"""What a program hears: our standard input, or the keys of a terminal that it is given."""

from __future__ import annotations

from collections.abc import Callable

from polyarch.record import frozen

__all__ = ["SILENCE", "Talk"]


def _nobody(_master: int) -> None:
    return


@frozen
class Talk:
    """How a step is talked to; by default not at all.

    `stdin` is a descriptor whose bytes become its standard input, or are typed at its terminal.
    `terminal` is the size (rows, columns) of a terminal for it, which is then its output, too; our end
    of that is handed to `on_terminal`, to be used until the step has ended.
    """

    stdin: int | None = None
    terminal: tuple[int, int] | None = None
    on_terminal: Callable[[int], None] = _nobody


SILENCE = Talk()
