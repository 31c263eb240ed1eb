"""The border where the operating system's errors become ours."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polyarch.errors import InputError, PolyarchError, StoreError

__all__ = [
    "FREE_SPACE",
    "FULL",
    "full_disk_trouble",
    "is_full",
    "machine_trouble",
    "output_trouble",
    "store_error",
    "store_trouble",
    "tree_trouble",
]

FREE_SPACE = "free some space, for instance with 'polyarch prune'"

_LEAST_FILES = 256
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
"""What the system says of a disk that is full."""
_HINTS = {
    errno.ENOSPC: f"the disk is full: {FREE_SPACE}",
    errno.EDQUOT: f"the disk quota is used up: {FREE_SPACE}",
    errno.EROFS: "the file system is read-only: set POLYARCH_ROOT to a directory that can be written",
    errno.EACCES: "set POLYARCH_ROOT to a directory that you may write, or fix the permissions",
    errno.EPERM: "set POLYARCH_ROOT to a directory that you may write, or fix the permissions",
    errno.ENFILE: "the machine has too many files open: raise fs.file-max, or end other programs",
    errno.EMFILE: "too many files are open: raise the limit with 'ulimit -n'",
    errno.EIO: "the disk reports errors: look at the kernel's log",
    errno.ESTALE: "the file system's server has lost it: mount it again",
}
_OUTSIDE_HINTS = {
    **_HINTS,
    errno.ENOSPC: "the disk is full: free some space, or choose another place",
    errno.EDQUOT: "the disk quota is used up: free some space, or choose another place",
    errno.EROFS: "the file system is read-only: choose another place",
    errno.EACCES: "choose a place that you may write, or fix the permissions",
    errno.EPERM: "choose a place that you may write, or fix the permissions",
}


def store_error(error: OSError, action: str, path: Path | str = "") -> StoreError:
    """Turn `error` into a StoreError; `action` completes "can't ..."."""
    place = str(path) or str(error.filename or "")
    where = f" {place}" if place else ""
    reason = error.strerror or str(error)
    number = error.errno if error.errno is not None else 0
    return StoreError(f"can't {action}{where}: {reason}", hint=_HINTS.get(number, ""))


@contextmanager
def store_trouble(action: str, path: Path | str = "") -> Iterator[None]:
    """Raise StoreError for every OSError inside; `action` completes "can't ..."."""
    try:
        yield
    except OSError as error:
        raise store_error(error, action, path) from error


@contextmanager
def output_trouble(action: str, path: Path | str) -> Iterator[None]:
    """Raise StoreError as `store_trouble` for a place that the user named, outside of the store."""
    try:
        yield
    except OSError as error:
        hint = _OUTSIDE_HINTS.get(error.errno or 0, "")
        reason = error.strerror or str(error)
        raise StoreError(f"can't {action} {path}: {reason}", hint=hint) from error


def machine_trouble(error: BaseException) -> StoreError | None:
    """Return the error of ours for one of the operating system that nobody expected, None if it may be a bug of ours.

    A disk that fails, a file system that became read-only or a directory whose permissions somebody changes may be met
    wherever a file is touched; a file that isn't there is ours to know of.
    """
    if not isinstance(error, OSError) or error.errno not in _OUTSIDE_HINTS:
        return None
    place = f" {os.fsdecode(error.filename)}" if isinstance(error.filename, str | bytes) else ""
    ours = StoreError(
        f"can't use{place or ' a file'}: {error.strerror}", hint=_OUTSIDE_HINTS[error.errno]
    )
    ours.__cause__ = error
    return ours


def is_full(place: Path, least: int = 1 << 16) -> bool:
    """Tell whether the disk of `place` has fewer than `least` bytes left, or next to no files.

    What found no room has gone by the time that is asked, with others' files that failed beside it.
    """
    status = os.statvfs(place)
    counts_files = status.f_files > 0
    return status.f_bavail * status.f_frsize < least or (
        counts_files and status.f_favail < _LEAST_FILES
    )


@contextmanager
def full_disk_trouble(place: Path) -> Iterator[None]:
    """Raise StoreError if the disk of `place` is full; what else goes wrong inside is left alone.

    An error of ours that a full disk has caused, and that says nothing of what to do, is told to say it.
    """
    try:
        yield
    except PolyarchError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and cause.errno in FULL and not error.hint:
            error.hint = _HINTS[cause.errno]
        raise
    except OSError as error:
        if error.errno in FULL:
            raise store_error(error, "write to", place) from error
        raise


@contextmanager
def tree_trouble() -> Iterator[None]:
    """Raise InputError if a tree inside is nested too deep to be walked, or has paths too long to be named.

    Steps can make such trees, directory by directory, and so can those who make a build context.
    """
    try:
        yield
    except RecursionError:
        raise InputError("directories are nested too deep, one in another", hint=_DEEP) from None
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        name = str(error.filename or "")
        raise InputError(
            f"a path is too long: {name[:60]!r}... of {len(name)}", hint=_DEEP
        ) from error


_DEEP = (
    "no path may be longer than 4,095 bytes, and some 400 directories in one another are the most"
)
