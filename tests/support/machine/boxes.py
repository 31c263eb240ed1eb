"""A box around a program: a cgroup that all its processes stay in, so that none can hide."""

from __future__ import annotations

import contextlib
import os
import select
import selectors
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.support.machine.programs import Person

__all__ = ["Box", "boxed", "held_locks", "mounts_below"]

_PATIENCE = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Box:
    """A running program and the cgroup that it is in."""

    child: subprocess.Popen[bytes]
    directory: Path

    def processes(self) -> list[int]:
        """Return all processes that are in it, those of the cgroups that it has made included."""
        lists = [self.directory / "cgroup.procs", *self.directory.glob("*/cgroup.procs")]
        return [int(line) for path in lists for line in path.read_text().split()]

    def engine_processes(self) -> list[int]:
        """Return the outer process, its init and its engine, as far as they are there."""
        found = [self.child.pid]
        while len(found) < 3:
            path = f"/proc/{found[-1]}/task/{found[-1]}/children"
            try:
                children = Path(path).read_text().split()
            except (FileNotFoundError, ProcessLookupError):
                break
            if not children:
                break
            found.append(int(children[0]))
        return found

    def kill(self, generation: int = 2) -> None:
        """Kill the outer process (0), its init (1) or its engine (2), or what comes before if that isn't there any more."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.engine_processes()[: generation + 1][-1], signal.SIGKILL)

    def wait_for(self, text: str) -> None:
        """Wait until it has said a line that holds `text`. Raises AssertionError if it doesn't."""
        assert self.child.stderr is not None
        said, line = b"", b"\n"
        with selectors.DefaultSelector() as selector:
            selector.register(self.child.stderr, selectors.EVENT_READ)
            while not (line.endswith(b"\n") and text.encode() in line):
                line = b"" if line.endswith(b"\n") else line
                data = self.child.stderr.read(1) if selector.select(_PATIENCE) else b""
                assert data, said.decode(errors="replace")
                said += data
                line += data

    def wait_until_empty(self) -> None:
        """Wait for the end of all its processes. Raises AssertionError with those that stay."""
        deadline = time.monotonic() + _PATIENCE
        with (self.directory / "cgroup.events").open() as events:
            changed = select.poll()
            changed.register(events, select.POLLPRI)
            while "populated 1" in events.read():
                left = deadline - time.monotonic()
                assert left > 0, [_describe(pid) for pid in self.processes()]
                changed.poll(left * 1000)
                events.seek(0)

    def end(self) -> tuple[int, str]:
        """Wait until it has ended; return its exit status and what it said."""
        _, err = self.child.communicate(timeout=_PATIENCE)
        return self.child.returncode, err.decode(errors="replace")


def _describe(pid: int) -> str:
    with contextlib.suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
        return f"{pid} {words.decode(errors='replace')[:200]}"
    return f"{pid} has ended"


@contextlib.contextmanager
def boxed(who: Person, *words: str) -> Iterator[Box]:
    """Start polyarch in a box; all that is left in it at the end of the block is killed."""
    top = Path("/sys/fs/cgroup/unified")
    directory = (top if top.exists() else top.parent) / f"polyarch-test-{os.urandom(6).hex()}"
    directory.mkdir()
    enter: Sequence[str] = ("sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', str(directory))
    child = subprocess.Popen(
        [*enter, *who.command(*words)],
        env=who.environment(),
        cwd=who.work,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        bufsize=0,
        start_new_session=True,
    )
    box = Box(child=child, directory=directory)
    try:
        yield box
    finally:
        for pid in box.processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        child.communicate()
        box.wait_until_empty()
        # A killed engine leaves the one of its steps; the next one that makes any removes it.
        for each in (*(path for path in directory.iterdir() if path.is_dir()), directory):
            each.rmdir()


def mounts_below(directory: Path) -> list[str]:
    """Return where something is mounted in `directory`, as this process sees it."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    places = [line.split(" ")[4] for line in lines]
    return [place for place in places if Path(place).is_relative_to(directory)]


def held_locks(directory: Path) -> list[str]:
    """Return which files and directories in `directory` any process has locked."""
    locked = {line.split()[5] for line in _lines_of_locks()}
    paths = [*directory.glob("locks/*"), *directory.glob("tmp/*")]
    return [str(path) for path in paths if _as_the_kernel_has_it(path) in locked]


def _as_the_kernel_has_it(path: Path) -> str:
    """Return the device and inode as they are in the list of locks: inodes alone aren't unique."""
    status = path.lstat()
    device = status.st_dev
    return f"{os.major(device):02x}:{os.minor(device):02x}:{status.st_ino}"


def _lines_of_locks() -> list[str]:
    return [line for line in Path("/proc/locks").read_text().splitlines() if " FLOCK " in line]
