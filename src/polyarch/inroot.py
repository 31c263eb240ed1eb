"""Paths inside a root file system that nobody trusts, and owners that this process can't give.

A path inside a root is POSIX; a leading `/` changes nothing. Symbolic links are resolved as a process
with that root would: absolute ones start at the root, and `..` at the root stays there.

Where the user namespace maps a single id, files can't be given other owners. The wanted owner of a
regular file or directory is then kept in the extended attribute `user.polyarch.owner` ("uid:gid"), and
what a device node should be in `user.polyarch.node` ("c:major:minor" or "b:...") of an empty regular
file. Readers of layers and content digests must honour both: `get_owner` and `get_node` do.

Symbolic links, FIFOs and sockets can't carry attributes of users. The one that they can carry, and that root of a
user namespace may set, is `security.capability`, which means nothing for what isn't run: the wanted owner is
in its 128 bits of capabilities, behind a mark of ours.

Source: xattr(7), capabilities(7), linux/capability.h.
"""

from __future__ import annotations

import errno
import os
import stat
import struct
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from polyarch import syscalls
from polyarch.errors import InputError
from polyarch.look import Status

__all__ = [
    "NODE_XATTR",
    "OWNER_XATTR",
    "PRIVATE_XATTR_PREFIX",
    "as_root",
    "follow_links",
    "forget_owner",
    "get_node",
    "get_owner",
    "is_record",
    "make_node",
    "open_regular",
    "read_small",
    "record_owner",
    "resolve",
    "set_owner",
]

PRIVATE_XATTR_PREFIX = "user.polyarch."
OWNER_XATTR = "user.polyarch.owner"
NODE_XATTR = "user.polyarch.node"

_CAPABILITY_XATTR = "security.capability"
_CAPABILITY = struct.Struct("<IIIII")
"""`struct vfs_cap_data` of revision 2: what it is, and two halves of permitted and inheritable ones."""
_REVISION, _MARK = 0x02000000, (0x796C6F70, 0x68637261)

_MAX_LINKS = 255
_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
_NO_OPENAT2 = frozenset({errno.ENOSYS, errno.EPERM})
_UNMAPPED = frozenset({errno.EINVAL, errno.EPERM})
_NO_XATTR = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENODATA})


def resolve(root: Path, path: str, *, follow_last: bool = True) -> Path:
    """Return where `path` lies below `root` on this machine, with all symbolic links resolved.

    What doesn't exist is taken as it is written, so the result may name a file to be made. With
    `follow_last=False` a link in the last place is not followed. Never leaves `root`, as long as
    nobody changes the tree meanwhile. Raises InputError for more than 255 links, and for a text that can
    be no path.
    """
    if "\0" in path:
        raise InputError(f"{path!r} can be no path: it holds a NUL")

    def find_link(names: list[str]) -> str | None:
        try:
            return os.readlink("/".join((str(root), *names)))
        except OSError:
            return None  # no link, or nothing at all

    return root.joinpath(*follow_links(path, find_link, follow_last=follow_last))


def follow_links(
    path: str,
    find_link: Callable[[list[str]], str | None],
    *,
    most: int = _MAX_LINKS,
    follow_last: bool = True,
) -> list[str]:
    """Return the names on the way to what `path` is, from a root that it can't leave, without links.

    `find_link` is given the names on the way to a place, links among them no more but in the last one, and
    returns what that is a link to, if it is one. Raises InputError for more than `most` links.
    """
    todo = _parts(path)
    done: list[str] = []
    links = 0
    while todo:
        part = todo.pop()
        if part == "..":
            del done[-1:]
            continue
        target = find_link([*done, part]) if todo or follow_last else None
        if target is None:
            done.append(part)
            continue
        links += 1
        if links > most:
            raise InputError(f"too many symbolic links in {path!r}")
        if target.startswith("/"):
            done.clear()
        todo.extend(_parts(target))
    return done


def _parts(path: str) -> list[str]:
    """Return the names in a path, the last one first."""
    return [part for part in reversed(path.split("/")) if part not in {"", "."}]


def open_regular(path: Path | str, *, root: Path | None = None, writes: bool = False) -> int:
    """Open a regular file of others, for reading or for both; return the descriptor, closed on exec.

    Nothing but a regular file is opened, even for a moment: a FIFO would wait for ever, and a device may
    do something. With `root`, the path lies inside of it, and so do its links. Raises OSError, and
    InputError for what is no regular file, naming what it is.
    """
    handle = os.open(path, os.O_PATH | os.O_CLOEXEC) if root is None else _handle(root, str(path))
    try:
        kind = stat.S_IFMT(os.fstat(handle).st_mode)
        if kind == stat.S_IFDIR:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        if kind != stat.S_IFREG:
            raise InputError(f"{path} is {_KINDS.get(kind, 'something')}, and no regular file")
        how = os.O_RDWR if writes else os.O_RDONLY
        return os.open(f"/proc/self/fd/{handle}", how | os.O_NONBLOCK | os.O_CLOEXEC)
    finally:
        os.close(handle)


def read_small(path: Path | str, limit: int, kind: str, *, root: Path | None = None) -> bytes:
    """Return all of a small regular file of others. Raises as `open_regular`.

    InputError for one of more than `limit` bytes says that it is no `kind`.
    """
    descriptor = open_regular(path, root=root)
    with open(descriptor, "rb", buffering=0) as stream:
        data = bytearray()
        while len(data) <= limit and (piece := stream.read(limit + 1 - len(data))):
            data += piece
    if len(data) > limit:
        raise InputError(f"{path} is larger than {limit >> 20} MiB: that is no {kind}")
    return bytes(data)


def _handle(root: Path, path: str) -> int:
    """Name a file inside `root`, whatever it is, without opening it."""
    top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    how = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS
    try:
        return syscalls.openat2(top, path, os.O_PATH, resolve=how)
    except OSError as error:
        if error.errno not in _NO_OPENAT2:
            raise
        # A kernel before 5.6, or one that is told to refuse what it doesn't know.
        return os.open(resolve(root, path), os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    finally:
        os.close(top)


def set_owner(path: str | Path | int, uid: int, gid: int, *, fresh: bool = False) -> None:
    """Give `path` (itself, if it is a link) an owner, or record it when that id isn't mapped here.

    `path` may be the descriptor of an open file. `fresh` says that the file was just made, so that no older record needs to be removed. Mind that
    changing the owner clears the setuid and setgid bits. Raises OSError for anything else.
    """
    try:
        os.chown(path, uid, gid, follow_symlinks=isinstance(path, int))
    except OSError as error:
        if error.errno not in _UNMAPPED:
            raise
        record_owner(path, uid, gid)
        return
    if not fresh:
        forget_owner(path)


def record_owner(path: str | Path | int, uid: int, gid: int, *, opened: bool = False) -> None:
    """Record the wanted owner of `path` (itself, if it is a link), which may be an open file. Raises OSError.

    `opened` says that `path` is a link of /proc to what is open, which is followed.
    """
    follow = opened or isinstance(path, int)
    # The second form is for what is neither a regular file nor a directory.
    other = _CAPABILITY.pack(_REVISION, uid, gid, *_MARK)
    forms = ((OWNER_XATTR, f"{uid}:{gid}".encode()), (_CAPABILITY_XATTR, other))
    for name, value in forms:
        try:
            os.setxattr(path, name, value, follow_symlinks=follow)
        except OSError as error:
            if error.errno not in _NO_XATTR:
                raise
        else:
            return


def forget_owner(path: str | Path | int, *, opened: bool = False) -> None:
    """Have `path` belong to its real owner again, who has just been set: that took the record of a link away.

    `opened` is as for `record_owner`.
    """
    with suppress(OSError):
        os.removexattr(path, OWNER_XATTR, follow_symlinks=opened or isinstance(path, int))


def as_root(status: Status) -> tuple[int, int]:
    """Return the owner that a file without a record is meant to have.

    In a namespace of the engine's the user is root. Without one, what the user owns is root's all the same.
    """
    uid, gid = status.st_uid, status.st_gid
    user = os.geteuid()
    if user == 0:
        return uid, gid
    return 0 if uid == user else uid, 0 if gid == os.getegid() else gid


def is_record(name: bytes, value: bytes) -> bool:
    """Tell whether an extended attribute is one that is kept for a file, and no attribute of its own."""
    if name.startswith(PRIVATE_XATTR_PREFIX.encode()):
        return True
    return name == _CAPABILITY_XATTR.encode() and _read_capability(value) is not None


def get_owner(
    path: str | Path, status: Status | None = None, *, opened: bool = False
) -> tuple[int, int]:
    """Return the wanted (uid, gid) of `path`, not following a link.

    `status` is its `os.lstat`, for those who have it already. With `opened` the path is a link of /proc to what is
    open, which is followed.
    """
    status = status if status is not None else os.lstat(path)
    own = as_root(status)
    if not (stat.S_ISREG(status.st_mode) or stat.S_ISDIR(status.st_mode)):
        return _recorded_without(path, opened=opened) or own
    recorded = _recorded(path, OWNER_XATTR, opened=opened)
    if recorded is None:
        return own
    uid, _, gid = recorded.partition(b":")
    return int(uid), int(gid)


def _recorded_without(path: str | Path, *, opened: bool) -> tuple[int, int] | None:
    """Return the recorded owner of what carries no attributes of users, if there is one."""
    value = _recorded(path, _CAPABILITY_XATTR, opened=opened)
    return None if value is None else _read_capability(value)


def _read_capability(value: bytes) -> tuple[int, int] | None:
    """Return the owner that capabilities stand for, if they do."""
    if len(value) < _CAPABILITY.size:
        return None
    # From outside of the namespace it is one of revision 3, with one field more.
    _, uid, gid, *mark = _CAPABILITY.unpack_from(value)
    return (uid, gid) if tuple(mark) == _MARK else None


def make_node(path: str | Path, mode: int, device: int) -> None:
    """Make a device node or fifo, or an empty file that stands for a device that is forbidden here.

    `mode` holds the type and the permission bits, `device` what `os.makedev` gives. Raises OSError.
    """
    try:
        os.mknod(path, mode, device)
    except PermissionError:
        if not (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)):
            raise
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, stat.S_IMODE(mode)))
        kind = "c" if stat.S_ISCHR(mode) else "b"
        _record(path, NODE_XATTR, f"{kind}:{os.major(device)}:{os.minor(device)}")


def get_node(path: str | Path, status: Status) -> tuple[int, int]:
    """Return the wanted (file type and mode, device) of `path`, whose `os.lstat` is `status`."""
    if stat.S_ISREG(status.st_mode) and status.st_size == 0:
        recorded = _recorded(path, NODE_XATTR)
        if recorded is not None:
            kind, major, minor = recorded.split(b":")
            file_type = stat.S_IFCHR if kind == b"c" else stat.S_IFBLK
            device = os.makedev(int(major), int(minor))
            return file_type | stat.S_IMODE(status.st_mode), device
    return status.st_mode, status.st_rdev


def _record(path: str | Path, name: str, value: str) -> None:
    try:
        os.setxattr(path, name, value.encode(), follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_XATTR:
            raise


def _recorded(path: str | Path, name: str, *, opened: bool = False) -> bytes | None:
    try:
        return os.getxattr(path, name, follow_symlinks=opened)
    except OSError as error:
        if error.errno not in _NO_XATTR:
            raise
        return None
