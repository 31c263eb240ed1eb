"""System calls by their number, for what is asked about on behalf of another process.

Source: syscall(2), stat(2), statx(2).
"""

from __future__ import annotations

import ctypes
import os

from polyarch.syscalls import AT_EMPTY_PATH

__all__ = ["raw_stat", "raw_statx"]

_call = ctypes.CDLL(None, use_errno=True)["syscall"]
_call.restype = ctypes.c_long
_call.argtypes = (ctypes.c_long,) * 2 + (ctypes.c_char_p, *(ctypes.c_void_p,) * 3)


def raw_stat(number: int, descriptor: int, size: int) -> bytearray:
    """Return this machine's `struct stat`, of `size` bytes, of what is open; `number` is newfstatat's.

    Raises OSError.
    """
    found = bytearray(size)
    space = (ctypes.c_char * size).from_buffer(found)
    _check(_call(number, descriptor, b"", ctypes.addressof(space), AT_EMPTY_PATH, None))
    return found


def raw_statx(number: int, descriptor: int, flags: int, mask: int) -> bytearray:
    """Return the `struct statx` of what is open; `number` is statx's. Raises OSError."""
    found = bytearray(256)
    space = (ctypes.c_char * 256).from_buffer(found)
    place = ctypes.addressof(space)
    _check(_call(number, descriptor, b"", flags | AT_EMPTY_PATH, mask, place))
    return found


def _check(result: int) -> None:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
