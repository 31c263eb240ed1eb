"""What lies ready in one directory -> its places in another, with all of it taken back if a move fails.

Directories are opened from the top without following links, and names are used relative to them: what
somebody puts in a directory's place meanwhile is an error, not a way out.
"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from polyarch.errors import StoreError
from polyarch.pattern import pattern
from polyarch.store.trees import remove_tree
from polyarch.syscalls import RESOLVE_BENEATH, RESOLVE_NO_SYMLINKS, openat2

_OCTAL = pattern(r"\\([0-7]{3})")  # blanks and the like in /proc/self/mountinfo

__all__ = ["Moves", "MovesLost", "open_directory"]


class MovesLost(StoreError):
    """Neither could all be moved, nor could all that made way be put back."""


def open_directory(parent: int, path: str) -> int:
    """Open a directory below an open one, through no link; "" is that one itself. Raises OSError."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    return openat2(parent, Path(path), flags, resolve=RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS)


@contextmanager
def _directory(parent: int, path: str) -> Iterator[int]:
    descriptor = open_directory(parent, path)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


class Moves:
    """Moves all that is in the directory `new` into `target`; what makes way goes to `old`.

    All three are descriptors of directories. `leave` tells, if it isn't None, which names of `target` stay
    though `new` doesn't have them; all others make way, too.
    """

    def __init__(
        self, new: int, target: int, old: int, *, leave: Callable[[str], bool] | None = None
    ) -> None:
        self._new = new
        self._target = target
        self._old = old
        self._leave = leave
        self._undo: list[Callable[[], None]] = []
        self._count = 0

    def run(self) -> None:
        """Move everything. Raises OSError if nothing was moved after all, MovesLost."""
        try:
            self._move_all()
        except BaseException as error:
            self._take_back(error)
            raise

    def _move_all(self) -> None:
        todo, met = [""], list[tuple[str, os.stat_result]]()
        while todo:
            path = todo.pop()
            with _directory(self._new, path) as source, _directory(self._target, path) as target:
                names = sorted(os.listdir(source))
                if self._leave is not None:
                    self._clear(target, path, set(names))
                for name in names:
                    place = f"{path}/{name}" if path else name
                    if _is_directory(name, source) and _is_directory(name, target):
                        todo.append(place)
                        # Moves change the times of both.
                        met.append((place, os.lstat(name, dir_fd=source)))
                        before = os.lstat(name, dir_fd=target)
                        self._undo.append(partial(self._undress, place, before))
                    else:
                        self._bring(name, source, target, path)
        # Last, as moves change the times of directories; those within others first.
        for place, status in reversed(met):
            self._dress(place, status)

    def _clear(self, target: int, path: str, kept: set[str]) -> None:
        """Take away what the result doesn't have."""
        for name in sorted(set(os.listdir(target)) - kept):
            if path or self._leave is None or not self._leave(name):
                self._take_away(name, target, path)

    def _bring(self, name: str, source: int, target: int, path: str) -> None:
        """Move one thing to its place, which is freed first if it is taken."""
        if _exists(name, target):
            if _is_directory(name, source) or _is_directory(name, target):
                self._take_away(name, target, path)
            else:
                self._keep(name, target, path)
        self._count += 1
        aside = str(self._count)
        _move(name, source, name, target)
        self._undo.append(partial(self._between, name, path, aside, is_back=False))

    def _keep(self, name: str, target: int, path: str) -> None:
        """Give a file that is to be replaced a second name, so that its place is never empty."""
        self._count += 1
        aside = str(self._count)
        try:
            os.link(name, aside, src_dir_fd=target, dst_dir_fd=self._old, follow_symlinks=False)
        except OSError:
            self._take_away(name, target, path)  # no links on this file system, or none for us
        else:
            self._undo.append(partial(self._between, name, path, aside, is_back=True))

    def _take_away(self, name: str, target: int, path: str) -> None:
        if _is_directory(name, target):
            _check_mounts(os.path.realpath(f"/proc/self/fd/{target}") + f"/{name}")
        self._count += 1
        aside = str(self._count)
        _move(name, target, aside, self._old)
        self._undo.append(partial(self._between, name, path, aside, is_back=True))

    def _between(self, name: str, path: str, aside: str, *, is_back: bool) -> None:
        """Move something that lies aside back to its place, or from its place aside."""
        with _directory(self._target, path) as target:
            if is_back:
                _move(aside, self._old, name, target)
            else:
                _move(name, target, aside, self._old)

    def _dress(self, place: str, status: os.stat_result) -> None:
        """Give a directory of the target a mode and a time."""
        with _directory(self._target, place) as target:
            mode = stat.S_IMODE(status.st_mode)
            if stat.S_IMODE(os.fstat(target).st_mode) != mode:
                os.fchmod(target, mode)
            os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns))

    def _undress(self, place: str, before: os.stat_result) -> None:
        # A directory of somebody else's may be written to by us, and yet not be given a time.
        with suppress(OSError):
            self._dress(place, before)

    def _take_back(self, error: BaseException) -> None:
        lost = []
        while self._undo:
            try:
                self._undo.pop()()
            except OSError as trouble:
                lost.append(trouble)
        if lost:
            raise MovesLost(f"can't put everything back: {lost[0].strerror}") from error


def _check_mounts(directory: str) -> None:
    """Raise OSError if a file system is mounted in a directory, which could be moved but not removed."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as table:
        for line in table:
            place = _OCTAL.sub(lambda match: chr(int(match[1], 8)), line.split(" ", 5)[4])
            if place.startswith(f"{directory}/"):
                raise OSError(errno.EBUSY, f"a file system is mounted at {place}")


def _exists(name: str, directory: int) -> bool:
    try:
        os.lstat(name, dir_fd=directory)
    except FileNotFoundError:
        return False
    return True


def _is_directory(name: str, directory: int) -> bool:
    with suppress(FileNotFoundError):
        return stat.S_ISDIR(os.lstat(name, dir_fd=directory).st_mode)
    return False


def _move(name: str, source: int, new: str, target: int) -> None:
    """Rename, or copy and remove what can't be renamed: from a mount, or out of a lower layer."""
    try:
        os.rename(name, new, src_dir_fd=source, dst_dir_fd=target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    else:
        return
    here, there = f"/proc/self/fd/{source}/{name}", f"/proc/self/fd/{target}"
    aside = f".polyarch-{os.urandom(6).hex()}"
    try:
        if _is_directory(name, source):
            shutil.copytree(here, f"{there}/{aside}", symlinks=True)
        else:
            shutil.copy2(here, f"{there}/{aside}", follow_symlinks=False)
        os.rename(aside, new, src_dir_fd=target, dst_dir_fd=target)
    except OSError:
        remove_tree(f"{there}/{aside}")
        raise
    remove_tree(here)
