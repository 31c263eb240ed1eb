"""System calls by numbers that differ between machines, which the caller knows.

Source: syscall(2), stat(2), statx(2), bpf(2).
"""

from __future__ import annotations

import ctypes
import os

from polyarch.syscalls import AT_EMPTY_PATH

__all__ = [
    "BPF_CGROUP_DEVICE",
    "BPF_PROG_TYPE_CGROUP_DEVICE",
    "bpf_attach",
    "bpf_load",
    "raw_stat",
    "raw_statx",
]

BPF_PROG_TYPE_CGROUP_DEVICE = 15
BPF_CGROUP_DEVICE = 6

_BPF_PROG_LOAD = 5
_BPF_PROG_ATTACH = 8

_libc = ctypes.CDLL(None, use_errno=True)
_call = _libc["syscall"]
_call.restype = ctypes.c_long
_call.argtypes = (ctypes.c_long,) * 2 + (ctypes.c_char_p, *(ctypes.c_void_p,) * 3)
_call_bpf = _libc["syscall"]  # a new object each time
_call_bpf.restype = ctypes.c_long
_call_bpf.argtypes = (ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_long)


class _ProgramToLoad(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_uint32),
        ("count", ctypes.c_uint32),
        ("instructions", ctypes.c_uint64),
        ("license", ctypes.c_uint64),
        ("rest", ctypes.c_uint64 * 13),
    )


class _ProgramToAttach(ctypes.Structure):
    _fields_ = (
        ("target", ctypes.c_uint32),
        ("program", ctypes.c_uint32),
        ("type", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
    )


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


def bpf_load(number: int, kind: int, program: bytes) -> int:
    """Load a BPF program (instructions of 8 bytes each); returns its descriptor. `number` is bpf's own."""
    # The kernel is given addresses as numbers, so both have to stay referred to until it has read them.
    text, licence = ctypes.create_string_buffer(program), ctypes.create_string_buffer(b"GPL")
    load = _ProgramToLoad(
        kind, len(program) // 8, ctypes.addressof(text), ctypes.addressof(licence)
    )
    return _bpf(number, _BPF_PROG_LOAD, load)


def bpf_attach(number: int, target: int, program: int, kind: int) -> None:
    """Attach a loaded program to a cgroup that is open as `target`. `number` is bpf's own."""
    _bpf(number, _BPF_PROG_ATTACH, _ProgramToAttach(target, program, kind, 0))


def _bpf(number: int, command: int, attributes: ctypes.Structure) -> int:
    size = ctypes.sizeof(attributes)
    return _check(_call_bpf(number, command, ctypes.byref(attributes), size))


def _check(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
