"""Large blobs that are sent to a repository while they are compressed into the store, for the push that follows.

A thread reads behind whoever writes the blob's file, so a slow registry keeps nobody waiting, and memory isn't needed. When
the push comes to the blob, it waits for the thread. Whatever went wrong, from a registry that takes no such uploads to a password
that isn't right, the push meets again, and tells.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Self

from polyarch.digest import Digest
from polyarch.errors import Cancelled
from polyarch.images.place import OnBytes
from polyarch.images.registry_place import RegistryPlace
from polyarch.images.tally import Arrival
from polyarch.oci.descriptor import Descriptor
from polyarch.store.blobs import BlobWriter
from polyarch.threads import caught

if TYPE_CHECKING:
    from polyarch.layer.compress import HashedSink

__all__ = ["EarlyPush"]

_LARGE = 8 << 20
"""Bytes from which on a blob is sent before it is whole: what is smaller is sent in a moment."""
_AT_ONCE = 4
_CHUNK = 1 << 20
_PATIENCE = 1.0
"""Seconds for the last words to a registry about an upload that isn't wanted any more."""
_LOOK = 0.1
"""Seconds after which a push that waits tells how far it is, and hears whether it should end."""


class EarlyPush:
    """The blobs that are sent to one repository, once `begin` was called. What is under way ends with the block."""

    def __init__(self, place: RegistryPlace) -> None:
        self._place = place
        self._is_begun = threading.Event()
        self._sent: dict[Digest, _Sending] = {}
        self._begun: list[_Sending] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for each in self._begun:
            each.abandon()
        for each in self._begun:
            each.wait(_PATIENCE)

    def begin(self) -> None:
        """Let blobs be sent: those that come, and those that are being written. Before nobody knows that there is a push."""
        self._is_begun.set()

    @contextmanager
    def followed(self, writer: BlobWriter) -> Iterator[HashedSink]:
        """Give what is written to in a writer's place, until the blob is whole."""
        sending = _Sending(self._place, writer, self._is_begun)
        self._begun = [each for each in self._begun if not each.has_ended]
        if len(self._begun) >= _AT_ONCE:
            yield writer
            return
        self._begun.append(sending)
        try:
            yield sending
        except BaseException:
            sending.abandon()
            raise
        sending.finish()
        self._sent[writer.digest] = sending

    def arrival(self, repository: str, blob: Descriptor, on_bytes: OnBytes) -> Arrival | None:
        """Return how a blob came to be in a repository, when it has; None if it wasn't sent there, or that failed."""
        sending = self._sent.get(blob.digest)
        if sending is None or repository != self._place.name:
            return None
        while not sending.wait(_LOOK):
            on_bytes(min(sending.sent, blob.size - 1))
        return sending.arrival


class _Sending:
    """A blob that is written, and sent by a thread that begins when the blob turns out to be large and `is_begun` is set."""

    def __init__(self, place: RegistryPlace, writer: BlobWriter, is_begun: threading.Event) -> None:
        self.sent = 0
        self._is_begun = is_begun
        self.arrival: Arrival | None = None
        self._place = place
        self._writer = writer
        self._written = 0
        self._digest: Digest | None = None
        self._is_abandoned = False
        self._thread: threading.Thread | None = None
        self._ended = threading.Event()
        self._changed = threading.Condition()
        self._file = -1

    # --- for who writes ---

    def write(self, data: bytes, /) -> int:
        """Write to the blob."""
        done = self._writer.write(data)
        self._grow(self._writer.size)
        return done

    @property
    def digest(self) -> Digest:
        """The digest of what was written."""
        return self._writer.digest

    @property
    def size(self) -> int:
        """The number of bytes that were written."""
        return self._writer.size

    def finish(self) -> None:
        """Say that the blob is whole."""
        with self._changed:
            self._digest = self._writer.digest
            self._changed.notify_all()
        if self._thread is None:
            self._ended.set()

    def abandon(self) -> None:
        """Send no more."""
        with self._changed:
            self._is_abandoned = True
            self._changed.notify_all()
        if self._thread is None:
            self._ended.set()

    def _grow(self, size: int) -> None:
        if self._thread is None and size >= _LARGE and self._is_begun.is_set():
            self._start()
        if self._thread is not None and size - self.sent >= _CHUNK:
            with self._changed:
                self._written = size
                self._changed.notify_all()

    def _start(self) -> None:
        self._file = os.open(self._writer.path, os.O_RDONLY | os.O_CLOEXEC)
        # A daemon, as a registry that says nothing mustn't keep the process from ending.
        thread = threading.Thread(target=self._run, name="early-push", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # No thread to spare: the push sends it, whatever becomes of this build.
            os.close(self._file)
            self._is_begun = threading.Event()
        else:
            self._thread = thread

    # --- for who waits ---

    @property
    def has_ended(self) -> bool:
        """Whether nothing is sent any more."""
        return self._ended.is_set()

    def wait(self, seconds: float) -> bool:
        """Wait so long at most for the end of it; return whether it came."""
        return self._ended.wait(seconds)

    # --- for who sends ---

    def chunks(self) -> Generator[bytes, None, None]:
        """See Growing."""
        self.sent = 0
        while data := os.pread(self._file, self._wait(), self.sent):
            yield data
            self.sent += len(data)

    def find_digest(self) -> Digest | None:
        """See Growing."""
        return self._digest

    def _wait(self) -> int:
        """Return how many bytes may be read: a chunk, or what is left of a whole blob. Raises Cancelled."""
        with self._changed:
            while not self._is_abandoned and self._digest is None:
                if self._written - self.sent >= _CHUNK:
                    break
                self._changed.wait()
            if self._is_abandoned:
                raise Cancelled("the blob isn't wanted any more")
        return _CHUNK

    def _run(self) -> None:
        caught(self._send)
        os.close(self._file)
        self._ended.set()

    def _send(self) -> None:
        is_new = self._place.client.upload_growing(self._place.name, self)
        self.arrival = Arrival.UPLOADED if is_new else Arrival.THERE
