"""What a program hears: our standard input, or the keys of a terminal that it is given; and who is beside it."""

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

    `on_started` is handed a descriptor (pidfd) of the step's first process once that is where the step is to run,
    just before its program starts; to be used until the step has ended. `beside` is such a descriptor of another step
    that runs: the program starts in that one's root and namespaces, and ends with it at the latest.
    """

    stdin: int | None = None
    terminal: tuple[int, int] | None = None
    on_terminal: Callable[[int], None] = _nobody
    on_started: Callable[[int], None] | None = None
    beside: int | None = None


SILENCE = Talk()
