"""Layers laid over a plain tree by copying, with reflinks where the file system has them."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path

from polyarch.store.layerform import Opener, is_opaque, is_whiteout, open_plain
from polyarch.store.trees import remove_tree

__all__ = ["copy_metadata", "lay_over"]

_FICLONE = 0x40049409
_CHUNK = 1 << 20
_INTERNAL = ("user.overlay.", "trusted.overlay.", "user.fuseoverlayfs.")


def lay_over(layer: Path, tree: Path, open_file: Opener = open_plain) -> None:
    """Copy a layer over `tree` with all metadata, and carry out its whiteouts.

    Its files are opened by `open_file`. Raises OSError.
    """
    _lay_over(str(layer), str(tree), {}, open_file)


def _lay_over(
    layer: str,
    tree: str,
    links: dict[tuple[int, int], str],
    open_file: Opener,
) -> None:
    for entry in list(os.scandir(layer)):
        target = f"{tree}/{entry.name}"
        status = entry.stat(follow_symlinks=False)
        if is_whiteout(status):
            remove_tree(target)
        elif stat.S_ISDIR(status.st_mode):
            if is_opaque(entry.path) or not _is_directory(target):
                remove_tree(target)
                os.mkdir(target, 0o700)
            _lay_over(entry.path, target, links, open_file)
        else:
            # A layer may put a file where a directory was, and a copy must not be written into a file that others link to.
            remove_tree(target)
            _copy(entry.path, status, target, links, open_file)
    copy_metadata(layer, os.lstat(layer), tree)


def _is_directory(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.lstat(path).st_mode)
    except FileNotFoundError:
        return False


def _copy(
    source: str,
    status: os.stat_result,
    target: str,
    links: dict[tuple[int, int], str],
    open_file: Opener,
) -> None:
    if status.st_nlink > 1:
        # Names of one file stay names of one file; those of another layer are no links to it.
        first = links.setdefault((status.st_dev, status.st_ino), target)
        if first != target:
            os.link(first, target, follow_symlinks=False)
            return
    if stat.S_ISREG(status.st_mode):
        _copy_content(open_file(source), target)
    elif stat.S_ISLNK(status.st_mode):
        os.symlink(os.readlink(source), target)
    else:
        os.mknod(target, status.st_mode, status.st_rdev)
    copy_metadata(source, status, target)


def _copy_content(source: int, target: str) -> None:
    with open(source, "rb", buffering=0) as old, open(target, "xb", buffering=0) as new:
        try:
            fcntl.ioctl(new, _FICLONE, old.fileno())
            return
        except OSError:
            pass  # no reflinks here
        try:
            while os.copy_file_range(old.fileno(), new.fileno(), 1 << 30):
                pass
        except OSError as error:
            if error.errno not in (errno.EXDEV, errno.EINVAL, errno.EOPNOTSUPP, errno.ENOSYS):
                raise
            while data := old.read(_CHUNK):
                new.write(data)


def copy_metadata(source: str, status: os.stat_result, target: str) -> None:
    """Give `target` the owner, mode, attributes and times of `source`, whose stat is `status`."""
    os.chown(target, status.st_uid, status.st_gid, follow_symlinks=False)
    is_link = stat.S_ISLNK(status.st_mode)
    # Linux has no mode of links.
    if not is_link:
        os.chmod(target, stat.S_IMODE(status.st_mode))
    # Attributes that this file system or this user can't have are left out: a plain copy is for machines that refuse
    # most things.
    for name in os.listxattr(source, follow_symlinks=False):
        if not name.startswith(_INTERNAL):
            with suppress(OSError):
                value = os.getxattr(source, name, follow_symlinks=False)
                os.setxattr(target, name, value, follow_symlinks=False)
    os.utime(target, ns=(status.st_atime_ns, status.st_mtime_ns), follow_symlinks=False)
