"""Ctrl-C and SIGTERM as KeyboardInterrupt, but never between a program's start and its being known."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["hold_interrupts", "take_interrupts"]


class _State:
    held = False
    pending = False


_state = _State()


def take_interrupts() -> None:
    """Raise KeyboardInterrupt at either signal from now on."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)


@contextmanager
def hold_interrupts() -> Iterator[None]:
    """Put interrupts off until the end of the block."""
    _state.held = True
    try:
        yield
    finally:
        _state.held = False
    if _state.pending:
        raise KeyboardInterrupt


def _interrupt(number: int, frame: FrameType | None) -> None:
    del number, frame
    _state.pending = True
    if not _state.held:
        raise KeyboardInterrupt
