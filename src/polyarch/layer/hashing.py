"""Digests of streams that are passing by, computed in a thread beside those who use the bytes.

Hashing, compressing and writing files all release Python's global lock for large chunks, so a second
core can do the first while another does the rest. The first chunk is hashed in place: most layers of a
build are smaller than one, and a thread isn't worth its start for them.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from types import TracebackType
from typing import Protocol, Self

from polyarch.digest import Digest

__all__ = ["HashingSink", "HashingSource"]

_MAX_WAITING = 8


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


class _Writable(Protocol):
    def write(self, data: bytes, /) -> object: ...


class _BackgroundHash:
    """A sha256 that is fed without waiting, up to a few chunks ahead."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256(usedforsecurity=False)
        self._chunks: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._ended = False
        self._fed = False
        self.size = 0

    def update(self, data: bytes) -> None:
        self.size += len(data)
        if not self._fed:
            self._fed = True
            self._hash.update(data)
            return
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="hash")
            self._thread.start()
        with self._changed:
            while len(self._chunks) >= _MAX_WAITING:
                self._changed.wait()
            self._chunks.append(data)
            self._changed.notify_all()

    def end(self) -> None:
        """Wait until all is hashed; may be repeated."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def digest(self) -> Digest:
        self.end()
        return Digest("sha256:" + self._hash.hexdigest())

    def digest_with(self, tail: bytes) -> Digest:
        self.end()
        copied = self._hash.copy()
        copied.update(tail)
        return Digest("sha256:" + copied.hexdigest())

    def _run(self) -> None:
        while True:
            with self._changed:
                while not self._chunks and not self._ended:
                    self._changed.wait()
                if not self._chunks:
                    return
                data = self._chunks.popleft()
                self._changed.notify_all()
            self._hash.update(data)


class _Hashing:
    def __init__(self) -> None:
        self._background = _BackgroundHash()

    @property
    def size(self) -> int:
        """The number of bytes that have passed."""
        return self._background.size

    @property
    def digest(self) -> Digest:
        """The sha256 digest of all that has passed; asked for at the end."""
        return self._background.digest()

    def digest_with(self, tail: bytes) -> Digest:
        """Return the digest of all that has passed and `tail`; asked for at the end."""
        return self._background.digest_with(tail)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._background.end()


class HashingSource(_Hashing):
    """Gives what another source gives, and hashes it."""

    def __init__(self, source: _Readable) -> None:
        super().__init__()
        self._source = source

    def read(self, size: int, /) -> bytes:
        """Return up to `size` bytes; none at the end."""
        data = self._source.read(size)
        if data:
            self._background.update(data)
        return data


class HashingSink(_Hashing):
    """Hands on to another sink what it is given, and hashes it."""

    def __init__(self, sink: _Writable) -> None:
        super().__init__()
        self._sink = sink

    def write(self, data: bytes, /) -> int:
        """Take `data`, all of it; it must not be changed afterwards."""
        self._background.update(data)
        self._sink.write(data)
        return len(data)
