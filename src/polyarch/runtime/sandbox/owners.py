"""Owners that a step can't give: recorded where the kernel maps only one id, and told of as if they were real.

An ordinary user without subordinate ids has one id to give to steps. A step's chown to another one, and setuid,
would fail, and with them most packages' installers. Here such calls are answered by a process outside of the
step: what an owner was to be is recorded with the file (see `inroot`), which layers carry; what a process was to be
is remembered (see `credentials`); stat tells what is recorded (see `showing`). A file that such a process makes
is recorded as its own.

What a user may do isn't enforced: for the kernel they are all the one that there is.

Source: chown(2), open(2), mkdir(2), execve(2); chown_common in fs/open.c of Linux.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import struct
from collections.abc import Callable, Iterator, Mapping

from polyarch import syscalls
from polyarch.inroot import forget_owner, get_owner, is_record, record_owner
from polyarch.runtime.configuration import StatNumbers
from polyarch.runtime.sandbox.credentials import Credentials, CredentialsTable, Ids
from polyarch.runtime.sandbox.finding import Finder
from polyarch.runtime.sandbox.listening import AS_ASKED, Call, Handler
from polyarch.runtime.sandbox.showing import Shower, StatCalls

__all__ = ["by_program", "owner_handlers"]

_AT_SYMLINK_NOFOLLOW = syscalls.AT_SYMLINK_NOFOLLOW
_NO_ID = 0xFFFFFFFF
_OPENING = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_EXCL
_RECORD_LIMIT = 64
"""Bytes of the longest record, and more."""
_KINDS = (stat.S_IFREG, stat.S_IFIFO, stat.S_IFSOCK)
"""What mknod makes that isn't a device."""


def owner_handlers(calls: StatNumbers) -> Mapping[str, Handler]:
    """Return who answers the calls that have to do with owners; `calls` are the fields of a `StatCalls`.

    The process gives up its root and working directory for it. Raises OSError.
    """
    finder = Finder()
    table = CredentialsTable()
    owners = _Owners(finder, table)
    return {
        **table.handlers(),
        **Shower(finder, StatCalls(**calls)).handlers(),
        **owners.handlers(),
    }


class _Owners:
    def __init__(self, finder: Finder, table: CredentialsTable) -> None:
        self._finder = finder
        self._table = table

    def handlers(self) -> Mapping[str, Handler]:
        chown = dict.fromkeys(("chown", "lchown", "chown32", "lchown32"), self._chown)
        return {
            **chown,
            **dict.fromkeys(("fchown", "fchown32"), self._fchown),
            "fchownat": self._fchownat,
            **dict.fromkeys(("open", "openat", "creat"), self._open),
            **dict.fromkeys(("mkdir", "mkdirat"), self._mkdir),
            **dict.fromkeys(("mknod", "mknodat"), self._mknod),
            **dict.fromkeys(("symlink", "symlinkat"), self._symlink),
            **dict.fromkeys(("execve", "execveat"), self._execute),
            **{f"{each}setxattr": _set_attribute for each in ("", "l", "f")},
            **{f"{each}removexattr": _remove_attribute for each in ("", "l", "f")},
            "setxattrat": _set_attribute_at,
            "removexattrat": _remove_attribute,
        }

    # --- owners of what is there ---

    def _chown(self, call: Call) -> int:
        path = call.text(call.arguments[0])
        follow = not call.name.startswith("l")
        with self._finder.at(call, syscalls.AT_FDCWD, path, follow=follow) as opened:
            return self._give(call, opened, call.arguments[1:3])

    def _fchown(self, call: Call) -> int:
        with self._finder.descriptor(call, call.number(0)) as opened:
            return self._give(call, opened, call.arguments[1:3])

    def _fchownat(self, call: Call) -> int:
        path, flags = call.text(call.arguments[1]), call.number(4)
        wanted = call.arguments[2:4]
        if not path and flags & syscalls.AT_EMPTY_PATH:
            with self._finder.descriptor(call, call.number(0)) as opened:
                return self._give(call, opened, wanted)
        follow = not flags & _AT_SYMLINK_NOFOLLOW
        with self._finder.at(call, call.number(0), path, follow=follow) as opened:
            return self._give(call, opened, wanted)

    def _give(self, call: Call, opened: int, wanted: list[int]) -> int:
        """Give what is open to an owner, of which each id may be none. Raises OSError."""
        who, path = self._table.of(call), str(opened)
        status = os.fstat(opened)
        before = get_owner(path, status, opened=True)
        limit = 0xFFFF if _is_narrow(call) else _NO_ID
        uid, gid = (
            old if new & limit == limit else new & limit
            for new, old in zip(wanted, before, strict=True)
        )
        if not who.is_root and not _may_give(who, before, (uid, gid)):
            raise _error(errno.EPERM)
        if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
            return 0  # the machine's own, lent to the step: there is nothing to be kept
        # With what the kernel does on such an occasion: setuid bits and capabilities of a program go.
        os.chown(path, 0, 0)
        if (uid, gid) == (0, 0):
            forget_owner(path, opened=True)
        else:
            record_owner(path, uid, gid, opened=True)
        return 0

    # --- owners of what is made ---

    def _open(self, call: Call) -> int:
        directory, path, rest = _path_of(call, "openat")
        flags, mode = (
            (os.O_CREAT | os.O_WRONLY | os.O_TRUNC, rest[0]) if call.name == "creat" else rest[:2]
        )
        flags &= 0xFFFFFFFF

        def make(parent: int, name: bytes, umask: int) -> int:
            os.umask(umask)
            return os.open(name, flags | _OPENING, mode & 0o7777, dir_fd=parent)

        with self._owned_place(call, directory, path) as place:
            if place is None:
                return AS_ASKED
            try:
                made = make(place.parent, place.name, place.umask)
            except FileExistsError:
                if flags & os.O_EXCL:
                    raise
                return AS_ASKED  # it is there already
            try:
                record_owner(made, *place.owner)
                return call.give(made, flags=flags & os.O_CLOEXEC)
            finally:
                os.close(made)

    def _mkdir(self, call: Call) -> int:
        directory, path, rest = _path_of(call, "mkdirat")
        return self._make(
            call,
            directory,
            path,
            lambda parent, name: os.mkdir(name, rest[0] & 0o7777, dir_fd=parent),
        )

    def _mknod(self, call: Call) -> int:
        directory, path, rest = _path_of(call, "mknodat")
        mode = rest[0] & 0xFFFF
        if stat.S_IFMT(mode) not in (0, *_KINDS):
            return AS_ASKED
        return self._make(
            call, directory, path, lambda parent, name: os.mknod(name, mode, dir_fd=parent)
        )

    def _symlink(self, call: Call) -> int:
        target = call.text(call.arguments[0])
        has_directory = call.name == "symlinkat"
        directory = call.number(1) if has_directory else syscalls.AT_FDCWD
        path = call.text(call.arguments[2 if has_directory else 1])
        return self._make(
            call, directory, path, lambda parent, name: os.symlink(target, name, dir_fd=parent)
        )

    def _make(
        self, call: Call, directory: int, path: bytes, make: Callable[[int, bytes], None]
    ) -> int:
        """Make something that belongs to the caller, unless the kernel does so by itself. Raises OSError."""
        with self._owned_place(call, directory, path) as place:
            if place is None:
                return AS_ASKED
            os.umask(place.umask)
            make(place.parent, place.name)
            made = os.open(place.name, os.O_PATH | os.O_NOFOLLOW, dir_fd=place.parent)
            try:
                record_owner(str(made), *place.owner, opened=True)
            finally:
                os.close(made)
        return 0

    @contextlib.contextmanager
    def _owned_place(self, call: Call, directory: int, path: bytes) -> Iterator[_Place | None]:
        """Give the place where the caller is about to make something, None if that will be root's."""
        who = self._table.of(call)
        with contextlib.ExitStack() as stack:
            yield self._place(call, who, stack, (directory, path))

    def _place(
        self, call: Call, who: Credentials, stack: contextlib.ExitStack, at: tuple[int, bytes]
    ) -> _Place | None:
        try:
            parent, name = stack.enter_context(self._finder.parent(call, *at))
            status = os.fstat(parent)
        except OSError:
            return None  # the kernel says what is wrong
        gid = who.gids.files
        if status.st_mode & stat.S_ISGID:
            gid = get_owner(str(parent), status, opened=True)[1]
        owner = (who.uids.files, gid)
        if owner == (0, 0) or name in {b"", b".", b".."}:
            return None
        umask = int(call.state()["Umask"][0], 8)
        call.check()
        return _Place(parent, name, owner, umask)

    # --- programs with the setuid bit ---

    def _execute(self, call: Call) -> int:
        """Let the caller be the owner of a program with the setuid bit, before the kernel starts it."""
        has_directory = call.name == "execveat"
        directory = call.number(0) if has_directory else syscalls.AT_FDCWD
        with contextlib.suppress(OSError):
            path = call.text(call.arguments[1 if has_directory else 0])
            who = self._table.of(call)
            with self._finder.at(call, directory, path) as opened:
                after = by_program(who, opened)
            if after != who:
                self._table.become(call, after)
        return AS_ASKED


def _set_attribute(call: Call) -> int:
    """Have copies that preserve attributes leave out our records, whose copies have owners of their own."""
    return _set(call, call.text(call.arguments[1]), call.arguments[2], call.arguments[3])


def _set_attribute_at(call: Call) -> int:
    name = call.text(call.arguments[3])
    place, size, _ = struct.unpack("=QII", call.read(call.arguments[4], 16))
    return _set(call, name, place, size)


def _set(call: Call, name: bytes, place: int, size: int) -> int:
    value = call.read(place, size) if 0 < size <= _RECORD_LIMIT else b""
    return 0 if is_record(name, value) else AS_ASKED


def _remove_attribute(call: Call) -> int:
    name = call.text(call.arguments[3 if call.name.endswith("at") else 1])
    if is_record(name, b""):
        raise _error(errno.ENODATA)
    return AS_ASKED


class _Place:
    """Where the caller makes something: its directory, opened, its name, who it is to belong to."""

    __slots__ = ("name", "owner", "parent", "umask")

    def __init__(self, parent: int, name: bytes, owner: tuple[int, int], umask: int) -> None:
        self.parent = parent
        self.name = name
        self.owner = owner
        self.umask = umask


def by_program(who: Credentials, opened: int) -> Credentials:
    """Return who a process is when it has started the program that is open. Raises OSError."""
    uids, gids = who.uids, who.gids
    status = os.fstat(opened)
    mode = status.st_mode
    if stat.S_ISREG(mode) and mode & 0o111 and mode & (stat.S_ISUID | stat.S_ISGID):
        uid, gid = get_owner(str(opened), status, opened=True)
        if mode & stat.S_ISUID and not _is_script(opened):
            uids = uids._replace(effective=uid)
        if mode & stat.S_ISGID and mode & stat.S_IXGRP and not _is_script(opened):
            gids = gids._replace(effective=gid)
    return who._replace(uids=_settled(uids), gids=_settled(gids))


def _settled(ids: Ids) -> Ids:
    return ids._replace(saved=ids.effective, files=ids.effective)


def _is_script(opened: int) -> bool:
    with open(str(opened), "rb", buffering=0) as file:
        return file.read(2) == b"#!"


def _may_give(who: Credentials, before: tuple[int, int], after: tuple[int, int]) -> bool:
    """Tell whether somebody who isn't root may make that change of a file's owner."""
    is_own = who.uids.files == before[0] == after[0]
    return is_own and (after[1] in (before[1], who.gids.files, *who.groups))


def _path_of(call: Call, with_directory: str) -> tuple[int, bytes, list[int]]:
    """Return the directory, the path and the further arguments of a call that makes something."""
    if call.name == with_directory:
        return call.number(0), call.text(call.arguments[1]), call.arguments[2:]
    return syscalls.AT_FDCWD, call.text(call.arguments[0]), call.arguments[1:]


def _is_narrow(call: Call) -> bool:
    """Tell whether the call is of the times when ids had 16 bits."""
    return call.machine in {"i386", "arm", "s390"} and call.name in {"chown", "lchown", "fchown"}


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
