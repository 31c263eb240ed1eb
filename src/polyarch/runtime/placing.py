"""Mounts for steps where nothing can be mounted: what they show is put into the root, and taken out after the step.

    a file, or a directory that is only read     copied in, removed
    a directory that is written to (a cache)     its entries are moved in, and back
    a socket                                     a second name of it, removed
    memory                                       an empty directory, removed
    /dev                                         the nodes that every step has, as far as they may be made
    /proc                                        copies of the few files that tell of the machine

What is in the way is moved aside meanwhile. Nothing of this is in the layer: what comes back is as it was, directories
have their old times, and the writer of layers leaves out what is like the layer below. Unlike a mount, what
is copied can be changed by the step (the change is lost), and is on the disk for the time of the step.

The root is hostile: places are found by openat2, below it, and everything is made and removed relative to a directory
that is held open.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from polyarch import syscalls
from polyarch.errors import StoreError
from polyarch.record import frozen
from polyarch.runtime.base import Refused
from polyarch.runtime.step import Bind, Mount, Step

__all__ = ["placed"]

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_IN_ROOT = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
_DEVICES = {"null": (1, 3), "zero": (1, 5), "full": (1, 7), "random": (1, 8), "urandom": (1, 9)}
_TELLING = (
    *("cpuinfo", "meminfo", "version", "filesystems", "uptime", "loadavg", "stat", "cmdline"),
    *(f"sys/kernel/{name}" for name in ("ostype", "osrelease", "version", "hostname", "pid_max")),
    *(f"sys/kernel/{name}" for name in ("cap_last_cap", "ngroups_max", "random/boot_id")),
)
"""What of /proc tells of the machine, and not of a process."""


@contextlib.contextmanager
def placed(step: Step, aside: Path) -> Iterator[None]:
    """Put what `step` is to see into its root for the time of the block.

    `aside` is a directory of ours on the root's file system, which takes what is in the way. Raises Refused for
    what can't be had without mounts, StoreError.
    """
    with contextlib.ExitStack() as undo:
        try:
            root = os.open(step.rootfs, _DIRECTORY)
            undo.callback(os.close, root)
            _place_system(root, undo)
            for number, mount in enumerate(step.mounts):
                _place(root, mount, aside / str(number), undo)
            yield
        except OSError as error:
            raise StoreError(
                f"what the step mounts can't be put into {step.rootfs}: {error}"
            ) from error


@frozen
class _Spot:
    """A name in a directory that is held open."""

    directory: int
    name: str

    def look(self) -> os.stat_result | None:
        """Look at what is there itself; None if there is nothing."""
        try:
            return os.stat(self.name, dir_fd=self.directory, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def remove(self) -> None:
        """Remove what is there, whatever it is by now."""
        status = self.look()
        if status is None:
            return
        if stat.S_ISDIR(status.st_mode):
            shutil.rmtree(self.name, dir_fd=self.directory)
        else:
            os.unlink(self.name, dir_fd=self.directory)


def _place(root: int, mount: Mount, aside: Path, undo: contextlib.ExitStack) -> None:
    """Put what one mount shows where it is to be seen; `undo` takes it out again."""
    spot = _spot(root, mount.target, undo)
    _keep_times(spot.directory, undo)
    if spot.look() is not None:
        os.rename(spot.name, aside, src_dir_fd=spot.directory)
        undo.callback(os.rename, aside, spot.name, dst_dir_fd=spot.directory)
    undo.callback(spot.remove)
    if not isinstance(mount, Bind):
        os.mkdir(spot.name, dir_fd=spot.directory)
        os.chmod(spot.name, mount.mode, dir_fd=spot.directory)
        return
    status = os.stat(mount.source)
    if stat.S_ISDIR(status.st_mode):
        _place_directory(mount, status, spot, undo)
    elif stat.S_ISSOCK(status.st_mode):
        os.link(mount.source, spot.name, dst_dir_fd=spot.directory)
    elif stat.S_ISREG(status.st_mode):
        _copy_file(mount.source, status, spot)
    else:
        raise Refused(f"{mount.target} can't be had where nothing can be mounted")


def _place_directory(
    mount: Bind, status: os.stat_result, spot: _Spot, undo: contextlib.ExitStack
) -> None:
    path = f"/proc/self/fd/{spot.directory}/{spot.name}"
    if mount.read_only:
        shutil.copytree(mount.source, path, symlinks=True, copy_function=_copy_with_owner)
        _give_owners(mount.source, path)
        return
    os.mkdir(spot.name, dir_fd=spot.directory)
    made = os.open(spot.name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=spot.directory)
    undo.callback(os.close, made)
    os.chown(made, status.st_uid, status.st_gid)
    os.chmod(made, stat.S_IMODE(status.st_mode))
    for name in os.listdir(mount.source):
        os.rename(f"{mount.source}/{name}", name, dst_dir_fd=made)

    def move_back() -> None:
        for name in os.listdir(made):
            os.rename(name, f"{mount.source}/{name}", src_dir_fd=made)

    undo.callback(move_back)


def _copy_with_owner(source: str, target: str) -> None:
    shutil.copy2(source, target, follow_symlinks=False)


def _give_owners(source: str, target: str) -> None:
    """Give a copied tree the owners of the original."""
    for directory, directories, files in os.walk(source):
        copy = target + directory[len(source) :]
        for name in ("", *directories, *files):
            status = os.lstat(os.path.join(directory, name))
            os.lchown(os.path.join(copy, name), status.st_uid, status.st_gid)


def _copy_file(source: str, status: os.stat_result, spot: _Spot) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with (
        open(source, "rb") as old,
        open(os.open(spot.name, flags, 0o600, dir_fd=spot.directory), "wb") as new,
    ):
        os.fchown(new.fileno(), status.st_uid, status.st_gid)
        os.fchmod(new.fileno(), stat.S_IMODE(status.st_mode))
        shutil.copyfileobj(old, new)


def _spot(root: int, path: str, undo: contextlib.ExitStack) -> _Spot:
    """Open the directory of a place in the root; what is missing of it is made, and removed after the step."""
    above, _, name = path.strip("/").rpartition("/")
    directory = _enter(root, above, undo)
    return _Spot(directory=directory, name=name)


def _enter(root: int, path: str, undo: contextlib.ExitStack) -> int:
    try:
        opened = syscalls.openat2(root, path or ".", _DIRECTORY, resolve=_IN_ROOT)
    except FileNotFoundError:
        spot = _spot(root, path, undo)
        _keep_times(spot.directory, undo)
        os.mkdir(spot.name, 0o755, dir_fd=spot.directory)
        undo.callback(spot.remove)
        opened = os.open(spot.name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=spot.directory)
    undo.callback(os.close, opened)
    return opened


def _keep_times(directory: int, undo: contextlib.ExitStack) -> None:
    """Have a directory that is held open get its times back, as they are now and once the step has ended.

    What the step changed in it counts: by then the name of what was put there is the only thing that is gone.
    """
    status = os.fstat(directory)
    now = (status.st_atime_ns, status.st_mtime_ns)
    undo.callback(_set_times, directory, now)


def _set_times(directory: int, times: tuple[int, int]) -> None:
    with contextlib.suppress(OSError):
        os.utime(directory, ns=times)


# --- what of the system there can be ---


def _place_system(root: int, undo: contextlib.ExitStack) -> None:
    dev = _enter(root, "dev", undo)
    _keep_times(dev, undo)
    for name, numbers in _DEVICES.items():
        spot = _Spot(directory=dev, name=name)
        if spot.look() is None:
            undo.callback(spot.remove)
            _make_device(spot, os.makedev(*numbers))
    shared = _Spot(directory=dev, name="shm")
    if shared.look() is None:
        undo.callback(shared.remove)
        os.mkdir("shm", dir_fd=dev)
        os.chmod("shm", 0o1777, dir_fd=dev)  # noqa: S103 what it is everywhere
    for path in _TELLING:
        spot = _spot(root, f"proc/{path}", undo)
        _keep_times(spot.directory, undo)
        if spot.look() is None:
            undo.callback(spot.remove)
            _tell(f"/proc/{path}", spot)


def _make_device(spot: _Spot, device: int) -> None:
    """Make a node; where none may be made, or opened, the null device is a file that takes what is written."""
    try:
        os.mknod(spot.name, stat.S_IFCHR | 0o666, device, dir_fd=spot.directory)
        os.chmod(spot.name, 0o666, dir_fd=spot.directory)  # noqa: S103 what it is everywhere
        os.close(os.open(spot.name, os.O_RDONLY | os.O_NONBLOCK, dir_fd=spot.directory))
    except PermissionError:
        spot.remove()
        if spot.name == "null":
            flags = os.O_CREAT | os.O_EXCL
            os.close(os.open(spot.name, flags, 0o666, dir_fd=spot.directory))
            os.chmod(spot.name, 0o666, dir_fd=spot.directory)  # noqa: S103 what it is everywhere


def _tell(source: str, spot: _Spot) -> None:
    try:
        text = Path(source).read_bytes()
    except OSError:
        return
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    with open(os.open(spot.name, flags, 0o444, dir_fd=spot.directory), "wb") as file:
        file.write(text)
