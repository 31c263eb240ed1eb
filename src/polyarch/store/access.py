"""Who may get into a store: its owner, and nobody else.

What lies in a store is more than others should have: programs in unpacked layers with the setuid bits and
the owners that their image gives them, values of build arguments among the records, locks that builds wait
for, and cached secrets of whatever was copied. The modes inside of snapshots are part of what is built and
can't be narrowed; so nobody else gets through the directory that all of it is in. Steps don't notice: they see
their files through mounts, which begin inside.

The class of CVE-2021-41091 (moby, whose data directory others could enter).
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from polyarch.errors import StoreError
from polyarch.store.trouble import store_trouble

__all__ = ["DIRECTORIES", "claim"]

DIRECTORIES = ("blobs", "snapshots", "locks", "tmp")

_OTHERS = 0o077
# What a store has, and what may be there before: facts and reports of crashes are kept without one, and a
# disk of its own begins with a directory for what is found on it.
_OWN = (
    rf"{'|'.join(DIRECTORIES)}|logs|reserve|version|state\.db(-.*|\.damaged)?|facts\.json|crashes|lost\+found"
    r"|\.(version|facts)[-.][0-9a-f]+"
)
_HINT = "set POLYARCH_ROOT to a directory of your own"


def claim(root: Path) -> None:
    """Make the directory of a store if it isn't there, and shut others out of one that is.

    One that was made by a version which let others in is fixed. Raises StoreError if it isn't the
    caller's, if it is there for everyone's use, or if its file system keeps no modes.
    """
    with store_trouble("open the store", root):
        try:
            status = os.stat(root)
        except FileNotFoundError:
            # All at once: whoever comes second finds it.
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            status = os.stat(root)
        if status.st_uid != os.geteuid():
            raise StoreError(
                f"can't open the store {root}: it belongs to somebody else",
                hint=f"{_HINT}, or build as the one who owns it",
            )
        if status.st_mode & _OTHERS and stat.S_ISDIR(status.st_mode):
            _shut(root, status)


def _shut(root: Path, status: os.stat_result) -> None:
    """Take all rights to a directory, and what is in it, away from others. Raises StoreError, OSError."""
    names = set(os.listdir(root))
    foreign = {name for name in names if not re.fullmatch(_OWN, name)}
    # An empty file system of its own is often open to all (tmpfs); where others work it isn't empty.
    if foreign and (status.st_mode & stat.S_ISVTX or "version" not in names):
        raise StoreError(
            f"can't make a store of {root}: others use it, too, and only its owner may enter a store",
            hint=f"{_HINT} that is empty, or not there yet",
        )
    os.chmod(root, 0o700)
    if os.stat(root).st_mode & _OTHERS:
        raise StoreError(
            f"can't keep others out of the store {root}: its file system keeps no permissions",
            hint=f"{_HINT}, on a file system of Linux",
        )
    _shut_entries(root)
    _shut_entries(root / "locks")


def _shut_entries(directory: Path) -> None:
    """Take rights away from others that nobody can use any more: in case that the directory is moved.

    Raises StoreError for what isn't the caller's: somebody put it there while the directory was open to all.
    """
    if not directory.is_dir():
        return
    with os.scandir(directory) as entries:
        found = list(entries)
    for entry in found:
        status = entry.stat(follow_symlinks=False)
        if status.st_uid != os.geteuid() or stat.S_ISLNK(status.st_mode):
            raise StoreError(
                f"can't use the store {directory}: {entry.name} in it was put there by somebody else",
                hint="look at it, and remove it",
            )
        if status.st_mode & _OTHERS:
            os.chmod(entry.path, stat.S_IMODE(status.st_mode) & 0o700)
