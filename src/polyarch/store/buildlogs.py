"""What the steps of builds printed, whole: a directory for each build in which a step printed something.

    logs/20261128T112801-5f3a9c/03-linux-arm64-build-2-5.log

The last 20 builds stay, for two weeks at most; those of one build end at 256 MiB together. Displays clip what is too much to look
at and say where the rest is. Keeping logs never fails a build: without room there is no log.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from polyarch.digest import Digest
from polyarch.pattern import pattern
from polyarch.progress import Event, LogEvent, Sink, StepEvent
from polyarch.record import replace
from polyarch.store.trees import remove_tree

__all__ = ["keeping_logs"]

_MOST_BUILDS = 20
_MOST_SECONDS = 14 * 24 * 3600
_MOST_BYTES = 256 << 20
_CUT = b"\n[the log ends here: those of the build have reached 256MiB]\n"
_PLACE = pattern(r"\[([^\]]*)\]")


@contextmanager
def keeping_logs(
    directory: Path, sink: Sink, clock: Callable[[], float] = time.time
) -> Iterator[Sink]:
    """Give a sink that keeps what steps print below `directory` and hands all events on.

    Its log events name the file that they are kept in.
    """
    logs = _Logs(directory, clock)

    def take(event: Event) -> None:
        if isinstance(event, LogEvent):
            event = replace(event, kept=logs.write(event))
        elif isinstance(event, StepEvent):
            logs.note(event)
        sink(event)

    try:
        yield take
    finally:
        logs.close()


class _Log:
    """A file that is being written; `path` is empty if there can't be one."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor = -1
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor = os.open(path, flags, 0o600)
        except OSError:
            self.path = ""

    def write(self, data: bytes, room: int) -> None:
        """Add to the file, and end it if there is no room for all."""
        if self._descriptor < 0:
            return
        try:
            view = memoryview(data if len(data) <= room else data[: max(room, 0)] + _CUT)
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            self.path = ""
            self.close()
        if len(data) > room:
            self.close()

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


class _Logs:
    def __init__(self, directory: Path, clock: Callable[[], float]) -> None:
        self._directory = directory
        self._clock = clock
        self._lock = threading.Lock()
        self._room = _MOST_BYTES
        self._build: Path | None = None
        self._names: dict[Digest, str] = {}
        self._logs: dict[Digest, _Log] = {}

    def note(self, event: StepEvent) -> None:
        self._names[event.step] = event.name
        if event.completed is not None and event.step in self._logs:
            self._logs[event.step].close()

    def write(self, event: LogEvent) -> str:
        """Keep what a step printed; returns the path, "" if it isn't kept. A step's come one by one."""
        with self._lock:
            log = self._logs.get(event.step)
            if log is None:
                log = self._logs[event.step] = _Log(self._path(event.step))
            room, self._room = self._room, self._room - len(event.data)
        log.write(event.data, room)
        return log.path

    def _path(self, step: Digest) -> str:
        if self._build is None:
            stamp = time.strftime("%Y%m%dT%H%M%S", time.gmtime(self._clock()))
            self._build = self._directory / f"{stamp}-{os.urandom(3).hex()}"
            with suppress(OSError):
                self._directory.mkdir(mode=0o700, exist_ok=True)
                self._build.mkdir(mode=0o700)
                _prune(self._build, self._clock() - _MOST_SECONDS)
        place = _PLACE.match(self._names.get(step, ""))
        slug = re.sub(r"[^A-Za-z0-9.]+", "-", place[1]) if place else "step"
        return str(self._build / f"{len(self._logs) + 1:02}-{slug[:60]}.log")

    def close(self) -> None:
        for log in self._logs.values():
            log.close()


def _prune(build: Path, oldest: float) -> None:
    """Remove the logs of builds beyond the last ones; other builds may be at it, too."""
    others = sorted(set(os.listdir(build.parent)) - {build.name}, reverse=True)
    for number, name in enumerate(others, 2):
        with suppress(OSError):
            path = build.parent / name
            if number > _MOST_BUILDS or path.lstat().st_mtime < oldest:
                remove_tree(path)
