"""What a step needs around it on disk: mount points in its root, a bundle for runc.

A mount needs something to be mounted on. What is missing in the root is made before the step and
removed after it if it is still empty, with the times of the parents as they were before each: nothing of
it gets into the layer, and what the step itself does to those directories shows. `/dev`, `/proc` and `/sys`
stay, as BuildKit leaves them, unless a mount of the RUN is there or below.

The root is hostile: it is walked by descriptors, one name at a time, so that no link leads out of it. The
directories in which something was made are held open, and what is removed is the very inode that was made, in
the directory where it was made, wherever the step has moved that.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from polyarch.errors import InputError, StoreError
from polyarch.record import frozen
from polyarch.runtime.base import Refused
from polyarch.runtime.oci import SYSTEM_DIRECTORIES
from polyarch.runtime.step import SHM, Bind, Step

__all__ = ["MountPoint", "mount_points", "plan_mount_points", "write_bundle"]

_MAX_LINKS = 40
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


@frozen
class MountPoint:
    """Something that has to be there for a mount: `path` is absolute inside the root.

    `stays` says that it is not removed after the step.
    """

    path: str
    is_directory: bool
    stays: bool = False

    def describe(self) -> str:
        """Say in one line what will be made if it is missing."""
        return f"{'directory' if self.is_directory else 'file'} {self.path}"


def _system_points(asked: Sequence[str]) -> list[MountPoint]:
    """Return the points of the system's mounts; those stay which no mount that was asked for is at or below."""
    return [
        MountPoint(
            path=path,
            is_directory=True,
            stays=not any(f"{target}/".startswith(f"{path}/") for target in asked),
        )
        for path in SYSTEM_DIRECTORIES
    ]


def plan_mount_points(step: Step) -> tuple[MountPoint, ...]:
    """Return what has to be there in the root of `step`.

    Targets below a mount that is made before them are not the root's, and are left to the runtime. Raises
    Refused for a mount on /proc.
    """
    targets = {os.path.normpath(mount.target): mount for mount in step.mounts}
    if "/proc" in targets:
        raise Refused("nothing can be mounted on /proc: programs need the real one")
    plan = _system_points([*targets, *([SHM] if step.shm_size else [])])
    before = list(SYSTEM_DIRECTORIES)
    for target, mount in targets.items():
        if target in SYSTEM_DIRECTORIES or any(target.startswith(f"{each}/") for each in before):
            continue
        is_directory = not isinstance(mount, Bind) or os.path.isdir(mount.source)
        plan.append(MountPoint(path=target, is_directory=is_directory))
        before.append(target)
    return tuple(plan)


@contextlib.contextmanager
def mount_points(step: Step) -> Iterator[tuple[str, ...]]:
    """Make the missing mount points of `step` for the time of the block; give what was made.

    That is paths inside the root, without links, parents first. Raises StoreError if the root can't be
    written to, Refused if `/dev`, `/proc` or `/sys` is no directory, and as `plan_mount_points` does.
    """
    with contextlib.ExitStack() as opened:
        maker = _Maker(step.rootfs, opened)
        is_ready = False
        try:
            for point in plan_mount_points(step):
                maker.make(point)
            maker.set_times_back()
            is_ready = True
            yield tuple(made.path for made in maker.made)
        finally:
            if not is_ready:
                maker.set_times_back()
            maker.remove(all_of_it=not is_ready)


@frozen
class _Made:
    """Something that was made: its name in a directory that is held open, and its own inode, held as well."""

    directory: int
    name: str
    held: int
    path: str
    stays: bool

    def is_there(self) -> bool:
        """Tell whether the name still stands for the inode, and there is nothing in that."""
        now = os.stat(self.name, dir_fd=self.directory, follow_symlinks=False)
        made = os.stat(self.held)
        same = (now.st_dev, now.st_ino) == (made.st_dev, made.st_ino)
        return same and (stat.S_ISDIR(made.st_mode) or made.st_size == 0)

    def remove(self) -> None:
        """Remove it if it is as it was made."""
        with contextlib.suppress(OSError):
            if self.is_there():
                is_directory = stat.S_ISDIR(os.stat(self.held).st_mode)
                (os.rmdir if is_directory else os.unlink)(self.name, dir_fd=self.directory)


class _Times:
    """When a directory, which is held open, was read and changed last."""

    def __init__(self, directory: int) -> None:
        status = os.stat(directory)
        self.directory = directory
        self.inode = (status.st_dev, status.st_ino)
        self._moments = (status.st_atime_ns, status.st_mtime_ns)

    def set_back(self) -> None:
        """Give it these times again."""
        with contextlib.suppress(OSError):
            os.utime(self.directory, ns=self._moments)


class _Maker:
    """Makes what is missing in a root, and removes it again."""

    def __init__(self, root: str, opened: contextlib.ExitStack) -> None:
        self.made: list[_Made] = []
        self._opened = opened
        self._times: dict[tuple[int, int], _Times] = {}
        try:
            self._root = self._hold(os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
        except OSError as error:
            raise StoreError(f"{root} can't be used for a step: {error.strerror}") from error

    def _hold(self, descriptor: int) -> int:
        self._opened.callback(os.close, descriptor)
        return descriptor

    def make(self, point: MountPoint) -> None:
        """Make a mount point and the directories on the way to it, as far as they are missing.

        Links are followed as the step would follow them, except to a system directory. Raises StoreError,
        Refused.
        """
        try:
            if point.path in SYSTEM_DIRECTORIES:
                self._make_system(point)
            else:
                self._walk(point)
        except OSError as error:
            raise StoreError(f"{point.path} can't be made for a mount: {error.strerror}") from error

    def _make_system(self, point: MountPoint) -> None:
        name = point.path[1:]
        try:
            status = os.stat(name, dir_fd=self._root, follow_symlinks=False)
        except FileNotFoundError:
            self._make((self._root, ""), name, is_directory=True, stays=point.stays)
            return
        if not stat.S_ISDIR(status.st_mode):
            raise Refused(
                f"{point.path} of the image is no directory: nothing can be mounted there"
            )

    def _walk(self, point: MountPoint) -> None:
        todo = _parts(point.path)
        way = [(self._root, "")]
        links = 0
        while todo:
            part = todo.pop()
            link = _find_link(part, way[-1][0])
            if part == "..":
                way = way[:-1] or way
            elif link is not None:
                links += 1
                if links > _MAX_LINKS:
                    raise InputError(f"too many symbolic links in {point.path!r}")
                way = way[:1] if link.startswith("/") else way
                todo += _parts(link)
            elif todo or point.is_directory:
                way.append(self._enter(way[-1], part))
            elif not _exists(part, way[-1][0]):
                self._make(way[-1], part, is_directory=False)

    def _enter(self, directory: tuple[int, str], name: str) -> tuple[int, str]:
        """Open a directory, which is made if it is missing; return it with its path."""
        if not _exists(name, directory[0]):
            return self._make(directory, name, is_directory=True)
        path = f"{directory[1]}/{name}"
        return self._hold(os.open(name, _DIRECTORY, dir_fd=directory[0])), path

    def _make(
        self, directory: tuple[int, str], name: str, *, is_directory: bool, stays: bool = False
    ) -> tuple[int, str]:
        """Make something in a directory that is open, whose path is given; return it likewise."""
        parent, path = directory[0], f"{directory[1]}/{name}"
        times = _Times(parent)
        self._times.setdefault(times.inode, times)
        if is_directory:
            os.mkdir(name, 0o755, dir_fd=parent)
            held = self._hold(os.open(name, _DIRECTORY, dir_fd=parent))
        else:
            flags = os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            held = self._hold(os.open(name, flags, 0o644, dir_fd=parent))
        os.fchmod(held, 0o755 if is_directory else 0o644)  # whatever the umask says
        self.made.append(_Made(directory=parent, name=name, held=held, path=path, stays=stays))
        return held, path

    def set_times_back(self) -> None:
        """Give the directories in which something was made the times that they had."""
        for times in self._times.values():
            times.set_back()

    def remove(self, *, all_of_it: bool) -> None:
        """Remove what was made and is still there and empty; no times change by that."""
        self._times = {inode: _Times(times.directory) for inode, times in self._times.items()}
        for made in reversed(self.made):
            if all_of_it or not made.stays:
                made.remove()
        self.set_times_back()


def _parts(path: str) -> list[str]:
    """Return the names in a path, the last one first."""
    return [part for part in reversed(path.split("/")) if part not in ("", ".")]


def _exists(name: str, directory: int) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True


def _find_link(name: str, directory: int) -> str | None:
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError:
        return None  # no link, or nothing at all


def write_bundle(directory: Path, config: Mapping[str, object]) -> None:
    """Write an OCI configuration as the bundle `directory`. Raises StoreError."""
    try:
        (directory / "config.json").write_text(json.dumps(config))
    except OSError as error:
        raise StoreError(f"{directory} can't be written: {error.strerror}") from error
