"""Nodes of devices for steps in a user namespace, made by who may: a process that stayed outside of it.

In a user namespace the kernel lets nobody make nodes, not even the root whose ids are the machine's own, as
in emulated steps of root's engine. The step's filter of system calls therefore hands those calls to a
*maker* (a seccomp listener): it does what the caller wants, where the caller is, as the caller, and with no
more than the capabilities that the caller has and those calls need. Whether a node can be opened is left
to the rules of the step's cgroup (see `devicegroup`).

The path is read once and resolved by the kernel in the caller's mount namespace, below its root and from its
directory, so a change of mind of the caller's changes nothing. Callers without CAP_MKNOD, and those that are
in a user namespace of their own, get EPERM, as from the kernel.

Source: seccomp(2), seccomp_unotify(2).
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import os
import select
import signal
import socket
import stat
import struct
from collections.abc import Callable
from typing import NoReturn

from polyarch import syscalls
from polyarch.record import frozen

__all__ = ["keep_making"]

_RECEIVE, _SEND, _IS_VALID = 0xC0502100, 0xC0182101, 0x40082102
_REQUEST = struct.Struct("=QII" + "iIQ6Q")
"""struct seccomp_notif: id, pid, flags; then the call's number, architecture, place and arguments."""
_ANSWER = struct.Struct("=QqiI")
_PATH_LIMIT = 4096
_CAP_MKNOD = 27
_FILE_CAPABILITIES = sum(1 << number for number in (0, 1, 2, 3, 4, 9, _CAP_MKNOD))
"""CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID, LINUX_IMMUTABLE, MKNOD."""


@frozen
class _Call:
    """A mknod or mknodat of a step's thread: `directory` is where a relative path begins."""

    thread: int
    directory: str
    address: int
    mode: int
    device: int


@frozen
class _Caller:
    """Who wants a node, by descriptors of what their paths depend on."""

    mounts: int
    root: int
    directory: int
    path: bytes
    uid: int
    gid: int
    groups: tuple[int, ...]
    umask: int
    capabilities: int


def keep_making(line: socket.socket, calls: list[list[int]], namespace: str) -> NoReturn:
    """Be the maker: receive the listener from the step, serve it until the step has ended.

    `calls` holds the architecture and number of the calls, and whether they name a directory; `namespace` is the
    path of the user namespace that the step is in.
    """
    try:
        syscalls.set_parent_death_signal(signal.SIGKILL)
        _, listeners, _, _ = socket.recv_fds(line, 1, 1, socket.MSG_CMSG_CLOEXEC)
        home = os.stat(namespace)
        known = {(arch, number): bool(has_directory) for arch, number, has_directory in calls}
        poll = select.poll()
        for listener in listeners:
            poll.register(listener, select.POLLIN)
            while not poll.poll()[0][1] & select.POLLHUP:
                _serve(listener, known, home)
    finally:
        os._exit(0)


def _serve(listener: int, known: dict[tuple[int, int], bool], home: os.stat_result) -> None:
    """Take one call and answer it."""
    request = bytearray(_REQUEST.size)
    try:
        fcntl.ioctl(listener, _RECEIVE, request)
    except OSError:
        return  # the caller was killed meanwhile
    identity, thread, _, number, architecture, _, *arguments = _REQUEST.unpack(request)

    def is_valid() -> bool:
        with contextlib.suppress(OSError):
            fcntl.ioctl(listener, _IS_VALID, struct.pack("=Q", identity))
            return True
        return False

    trouble = errno.EPERM
    has_directory = known.get((architecture, number))
    if has_directory is not None:
        call = _call(thread, arguments, has_directory=has_directory)
        try:
            trouble = _make(call, home, is_valid)
        except OSError as error:
            trouble = error.errno or errno.EPERM
    with contextlib.suppress(OSError):
        fcntl.ioctl(listener, _SEND, bytearray(_ANSWER.pack(identity, 0, -trouble, 0)))


def _call(thread: int, arguments: list[int], *, has_directory: bool) -> _Call:
    directory = f"/proc/{thread}/cwd"
    if has_directory:
        number = ctypes.c_int32(arguments[0] & 0xFFFFFFFF).value
        arguments = arguments[1:]
        if number != syscalls.AT_FDCWD:
            directory = f"/proc/{thread}/fd/{number}"
    address, mode, device = arguments[:3]
    return _Call(
        thread=thread,
        directory=directory,
        address=address,
        mode=mode & 0xFFFF,
        device=device & 0xFFFFFFFF,
    )


def _make(call: _Call, home: os.stat_result, is_valid: Callable[[], bool]) -> int:
    """Do what was called for in a process of its own; return 0 or the error. Raises OSError."""
    if not (stat.S_ISCHR(call.mode) or stat.S_ISBLK(call.mode)):
        return errno.EPERM
    with contextlib.ExitStack() as opened:
        caller = _look_at(call, home, opened)
        # Only now is it certain that all of this was the caller's, and not a later process's.
        if caller is None or not is_valid():
            return errno.EPERM
        child = syscalls.fork_bare()
        if child == 0:
            _be(caller, call)
        _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _look_at(call: _Call, home: os.stat_result, opened: contextlib.ExitStack) -> _Caller | None:
    """Find out who calls; None for one who may not. Raises OSError."""
    process = f"/proc/{call.thread}"

    def hold(path: str, flags: int) -> int:
        descriptor = os.open(path, flags | os.O_CLOEXEC)
        opened.callback(os.close, descriptor)
        return descriptor

    state = _state(process)
    namespace = os.stat(f"{process}/ns/user")
    capabilities = int(state["CapEff"][0], 16)
    is_at_home = (namespace.st_dev, namespace.st_ino) == (home.st_dev, home.st_ino)
    if not (is_at_home and capabilities >> _CAP_MKNOD & 1):
        return None
    return _Caller(
        mounts=hold(f"{process}/ns/mnt", os.O_RDONLY),
        root=hold(f"{process}/root", os.O_PATH),
        directory=hold(call.directory, os.O_PATH),
        path=_text_at(hold(f"{process}/mem", os.O_RDONLY), call.address),
        uid=int(state["Uid"][3]),
        gid=int(state["Gid"][3]),
        groups=tuple(int(each) for each in state["Groups"]),
        umask=int(state["Umask"][0], 8),
        capabilities=capabilities & _FILE_CAPABILITIES,
    )


def _state(process: str) -> dict[str, list[str]]:
    with open(f"{process}/status", encoding="utf-8", errors="replace") as file:
        lines = (line.partition(":") for line in file)
        return {name: text.split() for name, _, text in lines}


def _text_at(memory: int, address: int) -> bytes:
    """Read a C string from another process. Raises OSError as the kernel does."""
    text = b""
    while b"\0" not in text and len(text) < _PATH_LIMIT:
        # To the end of the page: the next one may not be there.
        place = address + len(text)
        try:
            data = os.pread(memory, min(4096 - place % 4096, _PATH_LIMIT - len(text)), place)
        except (OSError, OverflowError) as error:
            raise OSError(errno.EFAULT, os.strerror(errno.EFAULT)) from error
        if not data:
            raise OSError(errno.EFAULT, os.strerror(errno.EFAULT))
        text += data
    if b"\0" not in text:
        raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
    return text.partition(b"\0")[0]


def _be(caller: _Caller, call: _Call) -> NoReturn:
    """Become the caller as far as files go, make the node, and end with the error, if any."""
    status = errno.EPERM
    try:
        syscalls.setns(caller.mounts, syscalls.CLONE_NEWNS)
        os.fchdir(caller.root)
        os.chroot(".")
        os.fchdir(caller.directory)
        os.setgroups(caller.groups)
        syscalls.setfsgid(caller.gid)
        syscalls.setfsuid(caller.uid)
        # An id other than 0 has lost those for files by that.
        syscalls.capset(caller.capabilities, caller.capabilities, 0)
        os.umask(caller.umask)
        os.mknod(caller.path, call.mode, call.device)
        status = 0
    except OSError as error:
        status = error.errno or errno.EPERM
    finally:
        os._exit(status)
