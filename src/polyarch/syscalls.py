"""System calls that Python doesn't have, named and shaped like in their manual pages.

Each raises OSError with the kernel's error number. The numbers of the calls since Linux 5.2 are the
same on all architectures.
"""

from __future__ import annotations

import ctypes
import os

__all__ = [
    "fsconfig_create",
    "fsconfig_set_flag",
    "fsconfig_set_string",
    "fsmount",
    "fsopen",
    "mount",
    "move_mount",
    "umount2",
    "unshare",
]

_libc = ctypes.CDLL(None, use_errno=True)

_MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 429, 430, 431, 432
_FSCONFIG_SET_FLAG, _FSCONFIG_SET_STRING, _FSCONFIG_CMD_CREATE = 0, 1, 6
_FSOPEN_CLOEXEC = 1
_FSMOUNT_CLOEXEC = 1
_MOVE_MOUNT_F_EMPTY_PATH = 4
_AT_FDCWD = -100


def _checked(result: int, name: str) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")
    return result


def _syscall(name: str, number: int, *arguments: int | bytes | None) -> int:
    values = [ctypes.c_long(a) if isinstance(a, int) else ctypes.c_char_p(a) for a in arguments]
    return _checked(_libc.syscall(ctypes.c_long(number), *values), name)


def mount(source: str, target: str, fstype: str, flags: int = 0, data: str = "") -> None:
    """See mount(2)."""
    texts = [os.fsencode(text) if text else None for text in (source, target, fstype)]
    result = _libc.mount(*texts, ctypes.c_ulong(flags), os.fsencode(data) if data else None)
    _checked(result, "mount")


def umount2(target: str, flags: int = 0) -> None:
    """See umount(2)."""
    _checked(_libc.umount2(os.fsencode(target), flags), "umount2")


def unshare(flags: int) -> None:
    """See unshare(2)."""
    _checked(_libc.unshare(flags), "unshare")


def fsopen(fstype: str) -> int:
    """Return a configuration descriptor, closed on exec."""
    return _syscall("fsopen", _FSOPEN, fstype.encode(), _FSOPEN_CLOEXEC)


def fsconfig_set_flag(fd: int, key: str) -> None:
    """Set an option that has no value."""
    _syscall("fsconfig", _FSCONFIG, fd, _FSCONFIG_SET_FLAG, key.encode(), None, 0)


def fsconfig_set_string(fd: int, key: str, value: str) -> None:
    """Set an option to a text."""
    _syscall("fsconfig", _FSCONFIG, fd, _FSCONFIG_SET_STRING, key.encode(), os.fsencode(value), 0)


def fsconfig_create(fd: int) -> None:
    """Make the file system that the options describe."""
    _syscall("fsconfig", _FSCONFIG, fd, _FSCONFIG_CMD_CREATE, None, None, 0)


def fsmount(fd: int, attributes: int = 0) -> int:
    """Return a descriptor of a mount that is not attached yet, closed on exec."""
    return _syscall("fsmount", _FSMOUNT, fd, _FSMOUNT_CLOEXEC, attributes)


def move_mount(fd: int, target: str) -> None:
    """Attach the mount `fd` at `target`."""
    _syscall(
        "move_mount",
        _MOVE_MOUNT,
        fd,
        b"",
        _AT_FDCWD,
        os.fsencode(target),
        _MOVE_MOUNT_F_EMPTY_PATH,
    )
