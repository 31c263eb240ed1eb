"""A step's root file system with all that is mounted in it, made by descriptors, from its own namespace.

The root is whatever an image says: any name in it may be a link to anywhere. Hence the order and the rules:

- The system's file systems come first, each on a real directory (no link on the way to it), as runc wants it,
  too. What is beneath another one is found from the descriptor of that mount, not by its path.
- Paths are hidden and frozen through the descriptors of the mounts just made, before anything of the
  user's is mounted. Only what is missing below that descriptor is left out.
- The user's mounts come last. Their targets are looked up inside the root (openat2 with RESOLVE_IN_ROOT
  and RESOLVE_NO_MAGICLINKS), following links as the step would.

Where no device cgroup confines the step, all is mounted `nodev` but the few devices, each of which is a
mount of its own: a node that the step makes (it has CAP_MKNOD) then opens nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterable

from polyarch import syscalls
from polyarch.record import frozen
from polyarch.runtime.base import Refused
from polyarch.runtime.configuration import DEV_LINKS, Config, Device, MountPoint
from polyarch.runtime.step import SHM

__all__ = ["Entered", "change_root", "enter_root", "joined_root", "make_nodes"]

_ATTRIBUTES = {
    "ro": syscalls.MOUNT_ATTR_RDONLY,
    "nosuid": syscalls.MOUNT_ATTR_NOSUID,
    "nodev": syscalls.MOUNT_ATTR_NODEV,
    "noexec": syscalls.MOUNT_ATTR_NOEXEC,
    "strictatime": syscalls.MOUNT_ATTR_STRICTATIME,
}
_NO_DATA = frozenset({"rw", "bind", "rbind", *_ATTRIBUTES} - {"ro"})
_NULL = os.makedev(1, 3)
_SYSTEM = frozenset({"/proc", "/dev", "/dev/pts", SHM, "/dev/mqueue", "/sys", "/sys/fs/cgroup"})
_LOCKED = ("ro", "nosuid", "nodev", "noexec")
_STRAIGHT = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_MAGICLINKS
_AS_THE_STEP = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
_DIRECTORY = os.O_PATH | os.O_DIRECTORY


@frozen
class Entered:
    """Descriptors of the root that was entered, and of what is mounted at its /dev."""

    root: int
    dev: int


def joined_root() -> Entered:
    """Open the root of a mount namespace that was joined: made by `enter_root`, and changed by the step since."""
    root = os.open("/", _DIRECTORY | os.O_CLOEXEC)
    return Entered(root=root, dev=syscalls.openat2(root, "dev", _DIRECTORY, resolve=_STRAIGHT))


def enter_root(config: Config, *, nodev: bool) -> Entered:
    """Mount everything below the root file system of an OCI configuration and make it the root.

    `nodev` says that nodes in it must open nothing. Raises Refused, OSError.
    """
    path = config["root"]["path"]
    syscalls.mount("", "/", flags=syscalls.MS_REC | syscalls.MS_SLAVE)
    tree = syscalls.open_tree(path, syscalls.OPEN_TREE_CLONE | syscalls.AT_RECURSIVE)
    if nodev:
        _restrict(tree, syscalls.MOUNT_ATTR_NODEV, recursive=True)
    syscalls.move_mount(tree, path)
    os.close(tree)
    root = os.open(path, _DIRECTORY | os.O_CLOEXEC)
    mounts = _Mounts(root, config["linux"]["devices"], nodev=nodev)
    for mount in config["mounts"]:
        if mount["destination"] in _SYSTEM:
            mounts.mount_system(mount)
    mounts.freeze(config["linux"]["readonlyPaths"])
    mounts.hide(config["linux"]["maskedPaths"])
    for mount in config["mounts"]:
        if mount["destination"] not in _SYSTEM:
            mounts.mount(mount)
    os.fchdir(root)
    syscalls.pivot_root(".", ".")
    syscalls.umount2(".", syscalls.MNT_DETACH)
    os.chdir("/")
    return Entered(root=root, dev=mounts.made["/dev"])


def change_root(path: str) -> Entered:
    """Make a directory the root where nothing can be mounted. Raises OSError."""
    root = os.open(path, _DIRECTORY | os.O_CLOEXEC)
    os.fchdir(root)
    os.chroot(".")
    dev = syscalls.openat2(root, "dev", _DIRECTORY, resolve=syscalls.RESOLVE_IN_ROOT)
    return Entered(root=root, dev=dev)


class _Mounts:
    """What is mounted in a root: `made` holds the descriptors of the system's mounts by their places."""

    def __init__(self, root: int, devices: list[Device], *, nodev: bool) -> None:
        self.made: dict[str, int] = {}
        self._root = root
        self._devices = devices
        self._nodev = nodev
        # Where a user namespace mounts something new, the kernel opens no nodes anyway.
        self._opens_nodes = nodev and syscalls.in_initial_user_namespace()
        self._own: set[str] = set()

    def mount_system(self, mount: MountPoint) -> None:
        """Mount one of the system's file systems, or what the user has in its place."""
        target = mount["destination"]
        tree = self._detached(mount)
        if tree is None:
            return
        place = self._open_straight(target)
        syscalls.move_mount(tree, "", place)
        os.close(place)
        self.made[target] = tree
        if _is_users(mount):
            self._own.add(target)
        if target == "/dev" and mount["type"] == "tmpfs":
            _fill_dev(tree, self._devices, bind=self._nodev)
        if target == "/dev" and self._nodev:
            _restrict(tree, syscalls.MOUNT_ATTR_NODEV)

    def _open_straight(self, target: str) -> int:
        """Open a system directory, from the mount that it is in; what is missing there is made."""
        parent = next((each for each in ("/dev", "/sys") if target.startswith(f"{each}/")), "")
        start = self.made[parent] if parent else self._root
        try:
            return _straight_directory(start, target.removeprefix(parent).strip("/"))
        except OSError as error:
            if error.errno in {errno.ELOOP, errno.ENOTDIR}:
                raise Refused(
                    f"{target} of the image is no directory: nothing can be mounted there"
                ) from error
            raise

    def _detached(self, mount: MountPoint) -> int | None:
        """Make one mount of the configuration, attached nowhere yet, and return its descriptor.

        What a user namespace refuses is replaced by what comes closest, or left out (None).
        """
        kind, options = mount["type"], mount["options"]
        if "rbind" in options:
            return _clone(mount["source"], options, nodev=self._nodev)
        if self._opens_nodes and kind == "tmpfs" and mount["destination"] != "/dev":
            options = [*options, "nodev"]
        try:
            return _new_mount(kind, mount["source"], options)
        except OSError as error:
            if (kind, error.errno) == ("sysfs", errno.EPERM):
                return _clone("/sys", options, nodev=True)
            if (kind, error.errno) in {("cgroup2", errno.EPERM), ("cgroup2", errno.EBUSY)}:
                return _new_mount("tmpfs", "tmpfs", _LOCKED)
            if kind == "mqueue":
                return None
            raise

    def _find(self, path: str) -> int | None:
        """Open a path of the system's from the mount that it is in; None if it is missing there."""
        base = next(each for each in ("/proc", "/sys") if path.startswith(f"{each}/"))
        if base in self._own:
            return None  # what the user has mounted there shows nothing of the machine
        relative = path.removeprefix(f"{base}/")
        try:
            return syscalls.openat2(self.made[base], relative, os.O_PATH, resolve=_STRAIGHT)
        except (FileNotFoundError, NotADirectoryError):
            return None

    def hide(self, paths: Iterable[str]) -> None:
        """Put nothing in the place of files and directories of the system."""
        covers: dict[bool, int] = {}
        for path in paths:
            place = self._find(path)
            if place is None:
                continue
            is_directory = stat.S_ISDIR(os.fstat(place).st_mode)
            if is_directory in covers:
                # Only what is attached somewhere can be copied (before Linux 6.15).
                flags = syscalls.OPEN_TREE_CLONE | syscalls.AT_EMPTY_PATH
                cover = syscalls.open_tree("", flags, covers[is_directory])
                syscalls.move_mount(cover, "", place)
                os.close(cover)
            else:
                covers[is_directory] = self._nothing(is_directory=is_directory)
                syscalls.move_mount(covers[is_directory], "", place)
            os.close(place)
        for cover in covers.values():
            os.close(cover)

    def _nothing(self, *, is_directory: bool) -> int:
        """Return a detached mount of an empty directory, or of /dev/null."""
        if is_directory:
            return _new_mount("tmpfs", "tmpfs", (*_LOCKED, "size=0"))
        return self._null()

    def _null(self) -> int:
        """Return a detached mount of /dev/null, and of nothing that stands for it."""
        own = "/dev" not in self._own
        source = ("null", self.made["/dev"]) if own else ("/dev/null", syscalls.AT_FDCWD)
        tree = syscalls.open_tree(source[0], syscalls.OPEN_TREE_CLONE, source[1])
        status = os.fstat(tree)
        if not (stat.S_ISCHR(status.st_mode) and status.st_rdev == _NULL):
            raise Refused("/dev/null is another device here: nothing can be hidden by it")
        _restrict(tree, syscalls.MOUNT_ATTR_RDONLY)
        return tree

    def freeze(self, paths: Iterable[str]) -> None:
        """Make paths of the system read-only."""
        attributes = _attributes(_LOCKED)
        flags = syscalls.OPEN_TREE_CLONE | syscalls.AT_RECURSIVE | syscalls.AT_EMPTY_PATH
        for path in paths:
            place = self._find(path)
            if place is None:
                continue
            tree = syscalls.open_tree("", flags, place)
            _restrict(tree, attributes, recursive=True)
            syscalls.move_mount(tree, "", place)
            os.close(tree)
            os.close(place)

    def mount(self, mount: MountPoint) -> None:
        """Mount something of the user's, wherever links in the root lead to."""
        target = mount["destination"]
        tree = self._detached(mount)
        if tree is None:
            return
        place = _open_target(self._root, target, is_directory=stat.S_ISDIR(os.fstat(tree).st_mode))
        if _same(place, self.made["/proc"]) or _same(place, self._root):
            raise Refused(
                f"{target} can't be mounted on: that is the place of /proc or of the root"
            )
        syscalls.move_mount(tree, "", place)
        os.close(place)
        os.close(tree)


def _is_users(mount: MountPoint) -> bool:
    """Tell whether a mount at a place of the system's is the user's own."""
    kinds = {"/dev": {"tmpfs"}, "/sys": {"sysfs", "none"}}  # none: the machine's own, lent
    target = mount["destination"]
    return target in kinds and mount["type"] not in kinds[target]


def _same(one: int, other: int) -> bool:
    first, second = os.fstat(one), os.fstat(other)
    return (first.st_dev, first.st_ino) == (second.st_dev, second.st_ino)


def _restrict(tree: int, attributes: int, *, recursive: bool = False) -> None:
    flags = syscalls.AT_EMPTY_PATH | (syscalls.AT_RECURSIVE if recursive else 0)
    syscalls.mount_setattr("", flags, dir_fd=tree, attr_set=attributes)


def _attributes(options: Iterable[str]) -> int:
    """Return the attributes that options ask for, each of which may be there twice."""
    return sum({_ATTRIBUTES[each] for each in options if each in _ATTRIBUTES})


def _new_mount(kind: str, source: str, options: Iterable[str]) -> int:
    """Make a file system, attached nowhere; return the descriptor of its mount."""
    context = syscalls.fsopen(kind)
    try:
        syscalls.fsconfig_string(context, "source", source)
        for option in options:
            name, has_value, value = option.partition("=")
            if has_value:
                syscalls.fsconfig_string(context, name, value)
            elif option not in _NO_DATA:
                syscalls.fsconfig_flag(context, option)
        syscalls.fsconfig_create(context)
        return syscalls.fsmount(context, _attributes(options))
    finally:
        os.close(context)


def _clone(source: str, options: Iterable[str], *, nodev: bool) -> int:
    """Copy the mount of something of ours, with all below it, attached nowhere."""
    tree = syscalls.open_tree(source, syscalls.OPEN_TREE_CLONE | syscalls.AT_RECURSIVE)
    attributes = _attributes(options)
    if nodev and not _is_device(os.fstat(tree).st_mode):
        attributes |= syscalls.MOUNT_ATTR_NODEV
    if attributes:
        _restrict(tree, attributes, recursive=True)
    return tree


def _is_device(mode: int) -> bool:
    return stat.S_ISCHR(mode) or stat.S_ISBLK(mode)


def _straight_directory(start: int, path: str) -> int:
    """Open a directory without following any link; it is made, with its parents, if it is missing."""
    try:
        return syscalls.openat2(start, path, _DIRECTORY, resolve=_STRAIGHT)
    except FileNotFoundError:
        parent, _, name = path.rpartition("/")
        directory = _straight_directory(start, parent or ".")
        try:
            os.mkdir(name, 0o755, dir_fd=directory)
        finally:
            os.close(directory)
        return syscalls.openat2(start, path, _DIRECTORY, resolve=_STRAIGHT)


def _open_target(root: int, path: str, *, is_directory: bool) -> int:
    """Open a mount point of the user's; one that is missing below another mount (a cache, say) is made."""
    relative = path.strip("/") or "."
    try:
        return syscalls.openat2(root, relative, os.O_PATH, resolve=_AS_THE_STEP)
    except FileNotFoundError:
        parent, _, name = relative.rpartition("/")
        directory = _open_target(root, parent, is_directory=True)
        try:
            with contextlib.suppress(FileExistsError):  # another step has the same cache
                if is_directory:
                    os.mkdir(name, 0o755, dir_fd=directory)
                else:
                    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
                    os.close(os.open(name, flags, 0o644, dir_fd=directory))
        finally:
            os.close(directory)
        return syscalls.openat2(root, relative, os.O_PATH, resolve=_AS_THE_STEP)


# --- /dev ---


def make_nodes(directory: int, devices: Iterable[Device]) -> None:
    """Make device nodes, whose paths begin with /dev, in an open directory. Raises PermissionError."""
    umask = os.umask(0)
    try:
        for device in devices:
            name = device["path"].removeprefix("/dev/")
            kind = stat.S_IFBLK if device["type"] == "b" else stat.S_IFCHR
            number = os.makedev(device["major"], device["minor"])
            _make_parents(directory, name)
            os.mknod(name, kind | device["fileMode"], number, dir_fd=directory)
            if device["uid"] or device["gid"]:
                os.chown(name, device["uid"], device["gid"], dir_fd=directory)
    finally:
        os.umask(umask)


def _make_parents(directory: int, name: str) -> None:
    if "/" in name:
        os.close(_straight_directory(directory, os.path.dirname(name)))


def _fill_dev(dev: int, devices: list[Device], *, bind: bool) -> None:
    """Make the devices and links of /dev; devices that can't be made are taken from ours.

    `bind` says that each is to be a mount of its own, so that the rest can become `nodev`.
    """
    try:
        make_nodes(dev, devices)
        made = True
    except PermissionError:
        made = False
    for device in devices if bind or not made else ():
        name = device["path"].removeprefix("/dev/")
        source = (name, dev) if made else (device["path"], syscalls.AT_FDCWD)
        tree = syscalls.open_tree(source[0], syscalls.OPEN_TREE_CLONE, source[1])
        place = _open_target(dev, name, is_directory=False)
        syscalls.move_mount(tree, "", place)
        os.close(place)
        os.close(tree)
    for name, to in DEV_LINKS.items():
        os.symlink(to, name, dir_fd=dev)
    if os.path.exists("/proc/kcore"):
        os.symlink("/proc/kcore", "core", dir_fd=dev)
    for name in ("pts", "shm", "mqueue"):
        os.mkdir(name, 0o755, dir_fd=dev)
