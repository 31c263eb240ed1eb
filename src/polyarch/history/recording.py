"""Keeps the record of a build while it goes on.

    history/REF.json    the record, written when the build begins and when it ends     (history.form)
    history/REF.log     its events, locked by the process that builds                   (history.status)
    history/REF.blobs/  what came with a record of another machine, or is told of it    (history.bundle)

The last 50 stay, for two days at most, as BuildKit keeps them. Without room there is no record: keeping one never
fails a build. What steps print is clipped at 2 MiB for each step; what has secrets unmasked isn't kept.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from polyarch.digest import Digest, hex_of, sha256
from polyarch.errors import Cancelled, PolyarchError
from polyarch.golang.json import compact
from polyarch.history.form import LOGS_TYPE, record_json
from polyarch.history.record import BuildError, BuildRecord, Code, Counts, ResultInfo
from polyarch.history.status import packed
from polyarch.oci.descriptor import Descriptor
from polyarch.paths import replacing
from polyarch.progress import Event, LogEvent, Sink, StepEvent, WarningEvent
from polyarch.record import mutable, replace
from polyarch.store.trees import remove_tree

__all__ = ["Recording", "recording", "remove_record", "write_record"]

_MOST_RECORDS = 50
_MOST_SECONDS = 48 * 3600
_MOST_LOG_BYTES = 2 << 20


@contextmanager
def recording(
    directory: Path,
    record: BuildRecord,
    sink: Sink,
    *,
    keeps_logs: bool = True,
    clock: Callable[[], float] = time.time,
) -> Iterator[Recording]:
    """Keep `record` in `directory` during a block, which tells its events to what is given: it hands them on to `sink`.

    The time of the beginning is set here. How the block ends is how the build ended. Without `keeps_logs` what steps
    print isn't kept.
    """
    kept = Recording(directory, replace(record, created=clock()), sink, clock)
    kept.keeps_logs = keeps_logs
    try:
        kept.begin()
        yield kept
    except BaseException as error:
        kept.end(_error_of(error))
        raise
    kept.end(None)


def _error_of(error: BaseException) -> BuildError:
    if isinstance(error, Cancelled | KeyboardInterrupt):
        return BuildError(code=Code.CANCELED, message="context canceled")
    place = error.place if isinstance(error, PolyarchError) else None
    return BuildError(
        code=Code.UNKNOWN,
        message=str(error) or type(error).__name__,
        excerpt=place.excerpt() if place is not None else "",
    )


@mutable
class _Seen:
    cached: bool = False
    completed: bool = False
    bytes: int = 0


class Recording:
    """A sink for the events of a build, and its record. Made by `recording`."""

    keeps_logs = True

    def __init__(
        self, directory: Path, record: BuildRecord, sink: Sink, clock: Callable[[], float]
    ) -> None:
        self.record = record
        self._directory = directory
        self._sink = sink
        self._clock = clock
        self._lock = threading.Lock()
        self._file = -1
        self._hash = hashlib.sha256()
        self._size = 0
        self._steps: dict[Digest, _Seen] = {}
        self._failed: Digest | None = None
        self._warnings = 0

    def __call__(self, event: Event) -> None:
        """Keep an event and hand it on. From any thread."""
        with self._lock:
            self._note(event)
        self._sink(event)

    def note(
        self, response: Mapping[str, str], result: ResultInfo | None = None, **results: ResultInfo
    ) -> None:
        """Say what came of the build: what its metadata file holds, and where its image is."""
        self.record = replace(self.record, response=response, result=result, results=results)

    def attach(self, data: bytes, media_type: str, annotations: Mapping[str, str]) -> Descriptor:
        """Keep a document beside the record, as far as there is room."""
        digest = sha256(data)
        directory = self._directory / f"{self.record.ref}.blobs"
        with suppress(OSError):
            directory.mkdir(mode=0o700, exist_ok=True)
            (directory / hex_of(digest)).write_bytes(data)
        return Descriptor(
            media_type=media_type, digest=digest, size=len(data), annotations=annotations
        )

    def begin(self) -> None:
        """Write the record of a build that goes on."""
        with suppress(OSError):
            self._directory.mkdir(mode=0o700, exist_ok=True)
            _prune(self._directory, self._clock() - _MOST_SECONDS)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._file = os.open(self._directory / f"{self.record.ref}.log", flags, 0o600)
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            write_record(self._directory, self.record)

    def end(self, error: BuildError | None) -> None:
        """Write the record of a build that ended."""
        with self._lock:
            file, self._file = self._file, -1
        if file < 0:
            return
        if error is not None and self._failed is not None:
            error = replace(error, step=self._failed)
        seen = self._steps.values()
        self.record = replace(
            self.record,
            completed=self._clock(),
            error=error,
            counts=Counts(
                total=len(seen),
                completed=sum(each.completed for each in seen),
                cached=sum(each.cached for each in seen),
                warnings=self._warnings,
            ),
            logs=Descriptor(
                media_type=LOGS_TYPE,
                digest=Digest(f"sha256:{self._hash.hexdigest()}"),
                size=self._size,
            ),
        )
        with suppress(OSError):
            write_record(self._directory, self.record)
        os.close(file)

    def _note(self, event: Event) -> None:
        seen = self._steps.get(event.step)
        if isinstance(event, StepEvent):
            seen = self._steps.setdefault(event.step, _Seen())
            seen.cached = seen.cached or event.cached
            seen.completed = seen.completed or event.completed is not None
            if event.error and self._failed is None:
                self._failed = event.step
        elif isinstance(event, WarningEvent):
            self._warnings += 1
        elif isinstance(event, LogEvent):
            before = seen.bytes if seen else 0
            if seen:
                seen.bytes += len(event.data)
            if not self.keeps_logs or before >= _MOST_LOG_BYTES:
                return
            event = replace(event, data=event.data[: _MOST_LOG_BYTES - before])
        self._write(packed(event, self._clock()))

    def _write(self, data: bytes) -> None:
        if self._file < 0:
            return
        try:
            if os.write(self._file, data) == len(data):
                self._hash.update(data)
                self._size += len(data)
                return
            os.ftruncate(self._file, self._size)  # a full disk
        except OSError:
            pass
        os.close(self._file)
        self._file = -1


def _prune(directory: Path, oldest: float) -> None:
    """Remove the records beyond the last ones; other builds may be at it, too."""
    ended: list[tuple[float, str]] = []
    for name in os.listdir(directory):
        if name.endswith(".json") and not name.startswith("."):
            with suppress(OSError):
                ended.append(((directory / name).lstat().st_mtime, name.removesuffix(".json")))
    for number, (moment, ref) in enumerate(sorted(ended, reverse=True), 2):
        if number > _MOST_RECORDS or moment < oldest:
            remove_record(directory, ref)


def write_record(directory: Path, record: BuildRecord) -> None:
    """Write a record at once: a reader sees the old one or the new one. Raises OSError."""
    with replacing(directory / f"{record.ref}.json") as aside:
        aside.write_bytes(compact(record_json(record)))
        aside.chmod(0o600)


def remove_record(directory: Path, ref: str) -> None:
    """Remove a record with all that is kept of it, as far as that is possible."""
    for suffix in (".json", ".log"):
        with suppress(OSError):
            (directory / f"{ref}{suffix}").unlink()
    with suppress(OSError):
        remove_tree(directory / f"{ref}.blobs")
