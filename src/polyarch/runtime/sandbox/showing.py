"""What a step sees of a file's owner, where that is recorded and the kernel has another one.

Most files have no record: then the kernel answers itself. Otherwise it is asked on the caller's behalf, and
its answer is handed on with the owner put right. For programs of 32 bits it is made anew: their structures
hold nothing that stat doesn't tell.

Source: stat(2), statx(2); asm/stat.h of Linux for each machine.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Mapping

from polyarch import syscalls
from polyarch.inroot import OWNER_XATTR, get_owner
from polyarch.rawcalls import raw_stat, raw_statx
from polyarch.record import frozen
from polyarch.runtime.sandbox.finding import Finder
from polyarch.runtime.sandbox.listening import AS_ASKED, Call, Handler

__all__ = ["Shower", "StatCalls"]

_STATX_OWNER = 20
_STAT_OWNER = {"x86_64": (144, 28), "s390x": (144, 28), "ppc64le": (144, 28)}
_STAT_OWNER_ELSEWHERE = (128, 24)
"""How large `struct stat` is, and where the two ids are in it."""
_I386_STAT64 = struct.Struct("<QIIIIIIQIqIQ6IQ")
_ARM_STAT64 = struct.Struct("<QIIIIIIQI4xqI4xQ6IQ")
_CAPABILITY_XATTR = "security.capability"
_NOT_OURS = (b"/proc/", b"/sys/")


@frozen
class StatCalls:
    """The numbers of newfstatat and statx on this machine, and what it is called."""

    machine: str
    newfstatat: int
    statx: int


class Shower:
    """Answers stat and its kin."""

    def __init__(self, finder: Finder, calls: StatCalls) -> None:
        self._finder = finder
        self._calls = calls
        self._size, self._place = _STAT_OWNER.get(calls.machine, _STAT_OWNER_ELSEWHERE)

    def handlers(self) -> Mapping[str, Handler]:
        """Return who answers which call."""
        names = ("stat", "lstat", "fstat", "newfstatat", "statx")
        return {
            **dict.fromkeys(names, self._serve),
            **dict.fromkeys(("stat64", "lstat64", "fstat64", "fstatat64"), self._serve),
        }

    def _serve(self, call: Call) -> int:
        try:
            return self._show(call)
        except OSError:
            return AS_ASKED  # the kernel knows the error, and what we can't reach

    def _show(self, call: Call) -> int:
        name = call.name.removesuffix("64")
        if name == "fstat":
            with self._finder.descriptor(call, call.number(0)) as opened:
                return self._tell(call, opened, call.arguments[1])
        if name in {"stat", "lstat"}:
            path = call.text(call.arguments[0])
            return self._at(call, syscalls.AT_FDCWD, path, follow=name == "stat")
        flags = call.number(2 if name == "statx" else 3)
        path = call.text(call.arguments[1])
        if not path and flags & syscalls.AT_EMPTY_PATH:
            with self._finder.descriptor(call, call.number(0)) as opened:
                return self._tell(call, opened, self._buffer(call))
        return self._at(call, call.number(0), path, follow=not flags & syscalls.AT_SYMLINK_NOFOLLOW)

    def _at(self, call: Call, directory: int, path: bytes, *, follow: bool) -> int:
        if path.startswith(_NOT_OURS):
            return AS_ASKED
        with self._finder.at(call, directory, path, follow=follow) as opened:
            return self._tell(call, opened, self._buffer(call))

    def _buffer(self, call: Call) -> int:
        index = {"stat": 1, "lstat": 1, "statx": 4}.get(call.name.removesuffix("64"), 2)
        return call.arguments[index]

    def _tell(self, call: Call, opened: int, buffer: int) -> int:
        """Answer for what is open, if its owner is recorded."""
        path = str(opened)
        if not {OWNER_XATTR, _CAPABILITY_XATTR} & set(os.listxattr(path)):
            return AS_ASKED
        status = os.fstat(opened)
        owner = get_owner(path, status, opened=True)
        if owner == (status.st_uid, status.st_gid):
            return AS_ASKED
        if call.name == "statx":
            flags = call.number(2) & ~syscalls.AT_SYMLINK_NOFOLLOW
            found = raw_statx(self._calls.statx, opened, flags, call.arguments[3] & 0xFFFFFFFF)
            struct.pack_into("=II", found, _STATX_OWNER, *owner)
        elif call.name.endswith("64"):
            found = _of_32_bits(call.machine, status, owner)
        else:
            found = raw_stat(self._calls.newfstatat, opened, self._size)
            struct.pack_into("=II", found, self._place, *owner)
        call.write(buffer, found)
        return 0


def _of_32_bits(machine: str, status: os.stat_result, owner: tuple[int, int]) -> bytearray:
    """Return the `struct stat64` of a 32-bit program."""
    layout = _I386_STAT64 if machine == "i386" else _ARM_STAT64
    times = (status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns)
    small = stat.S_IMODE(status.st_mode) | stat.S_IFMT(status.st_mode)
    return bytearray(
        layout.pack(
            status.st_dev,
            0,
            status.st_ino & 0xFFFFFFFF,
            small,
            status.st_nlink,
            *owner,
            status.st_rdev,
            0,
            status.st_size,
            status.st_blksize,
            status.st_blocks,
            *(part & 0xFFFFFFFF for each in times for part in divmod(each, 1_000_000_000)),
            status.st_ino,
        )
    )
