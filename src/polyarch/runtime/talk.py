"""What a program hears: our standard input, or the keys of a terminal that it is given."""

from __future__ import annotations

import os
import select
import threading
from collections.abc import Callable
from typing import Self

from polyarch.record import frozen

__all__ = ["SILENCE", "Feed", "Talk"]

_CHUNK = 65536


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


class Feed:
    """Copies a descriptor to another one, which it closes, for the time of a block.

    In a thread, as either may make it wait. A source that ends, or a reader that goes, ends it early.
    """

    def __init__(self, source: int, target: int) -> None:
        self._source = source
        self._target = target
        self._stop, self._stopper = os.pipe()
        self._thread = threading.Thread(target=self._copy, name="feed")
        os.set_blocking(target, False)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._stopper)
        self._thread.join()
        os.close(self._stop)

    def _copy(self) -> None:
        try:
            while self._wait(self._source, select.POLLIN):
                data = os.read(self._source, _CHUNK)
                if not data:
                    break
                while data and self._wait(self._target, select.POLLOUT):
                    data = data[os.write(self._target, data) :]
        except OSError:
            pass  # nobody reads any more, or the terminal was hung up
        finally:
            os.close(self._target)

    def _wait(self, descriptor: int, event: int) -> bool:
        """Wait until a descriptor is ready; tell whether to go on."""
        poll = select.poll()
        poll.register(descriptor, event)
        poll.register(self._stop, select.POLLIN)
        return self._stop not in {ready for ready, _ in poll.poll()}
