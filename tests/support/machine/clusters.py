"""Dask clusters of this machine: a scheduler, and workers of polyarch in processes with stores of their own."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from tests.support.machine.programs import Person, person

__all__ = ["Cluster", "cluster_of"]

_LISTENS = re.compile(r"Scheduler at:\s+(tcp://\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A scheduler that listens at `address`, its workers by their names, and what they all have printed into `logs`."""

    address: str
    scheduler: subprocess.Popen[bytes]
    workers: Mapping[str, subprocess.Popen[bytes]]
    logs: Path

    def printed(self) -> str:
        """Return all that was printed."""
        return "".join(each.read_text() for each in sorted(self.logs.iterdir()))


@contextmanager
def cluster_of(who: Person, platforms: Mapping[str, str]) -> Iterator[Cluster]:
    """Run a scheduler and workers, by name, that say to be native on a platform; each has its own store."""
    logs = who.home / "logs"
    logs.mkdir()
    words = (
        *(sys.executable, "-m", "distributed.cli.dask_scheduler"),
        *("--host", "127.0.0.1", "--port", "0", "--no-dashboard"),
    )
    started = []
    try:
        scheduler = _start(who, words, logs / "scheduler")
        started.append(scheduler)
        address = _waited_for(scheduler, logs / "scheduler", _LISTENS)
        workers = {}
        for name, platform in platforms.items():
            own = person(who.user, who.home / name)
            environ = replace(own, environ=who.environ)
            command = environ.command(
                "worker", "--name", name, "--platform", platform, "--jobs", "2", address
            )
            workers[name] = _start(environ, command, logs / name)
            started.append(workers[name])
        for name, process in workers.items():
            _waited_for(process, logs / name, re.compile(r"worker (\S+) builds for"))
        yield Cluster(address=address, scheduler=scheduler, workers=workers, logs=logs)
    finally:
        for process in reversed(started):
            process.send_signal(signal.SIGTERM)
        for process in started:
            process.wait(timeout=60)


def _start(who: Person, words: tuple[str, ...] | list[str], log: Path) -> subprocess.Popen[bytes]:
    with log.open("wb") as stream:
        return subprocess.Popen(
            words,
            env=who.environment(),
            cwd=who.work,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
        )


def _waited_for(process: subprocess.Popen[bytes], log: Path, wanted: re.Pattern[str]) -> str:
    """Wait for a line; returns what its first group holds."""
    while (found := wanted.search(log.read_text())) is None:
        try:
            process.wait(timeout=0.05)
        except subprocess.TimeoutExpired:
            continue
        raise AssertionError(log.read_text())
    return found[1]
