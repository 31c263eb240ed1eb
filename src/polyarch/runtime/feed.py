"""What a program is to hear, brought to it for as long as it runs."""

from __future__ import annotations

import os
import select
import threading
from typing import Self

__all__ = ["Feed"]

_CHUNK = 65536


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
