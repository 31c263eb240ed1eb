"""A task as a call, for Dask to carry."""

from __future__ import annotations

import pickle

from polyarch.cluster.onworker import run_task

__all__ = ["Call"]


class Call:
    """A call of `run_task` on a worker, as Dask carries it: `call.to_bytes()` is for `pickle.loads`.

    Dask's scheduler unpickles what tasks are made of, to look at them, and needn't have polyarch: it sees `pickle.loads`
    and bytes, which become the call where they are loaded. Nor are there arguments that it, or a worker, could
    write into a log.
    """

    def __init__(self, text: str, archives: int) -> None:
        self._text = text
        self._archives = archives

    def __reduce__(self) -> tuple[object, ...]:
        return run_task, (self._text, *(pickle.PickleBuffer(b"") for _ in range(self._archives)))

    def to_bytes(self) -> bytes:
        """Return the call; whoever loads it gives the archives as its buffers."""
        return pickle.dumps(self, protocol=5, buffer_callback=lambda _buffer: None)
