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
import errno
import os
import stat
from collections.abc import Mapping
from typing import NoReturn

from polyarch import syscalls
from polyarch.record import frozen
from polyarch.runtime.sandbox.listening import Call, Handler

__all__ = ["node_handlers"]

_CAP_MKNOD = 27
_FILE_CAPABILITIES = sum(1 << number for number in (0, 1, 2, 3, 4, 9, _CAP_MKNOD))
"""CHOWN, DAC_OVERRIDE, DAC_READ_SEARCH, FOWNER, FSETID, LINUX_IMMUTABLE, MKNOD."""


@frozen
class _Node:
    """What is to be made, where the caller is."""

    path: bytes
    mode: int
    device: int


@frozen
class _Caller:
    """Who wants a node, by descriptors of what their paths depend on."""

    mounts: int
    root: int
    directory: int
    uid: int
    gid: int
    groups: tuple[int, ...]
    umask: int
    capabilities: int


def node_handlers(namespace: str) -> Mapping[str, Handler]:
    """Return who makes nodes for the calls of a step; `namespace` is the path of its user namespace.

    Raises OSError.
    """
    home = os.stat(namespace)

    def make(call: Call) -> int:
        has_directory = call.name == "mknodat"
        arguments = call.arguments[1:] if has_directory else call.arguments
        mode, device = arguments[1] & 0xFFFF, arguments[2] & 0xFFFFFFFF
        if not (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        directory = "cwd"
        if has_directory and call.number(0) != syscalls.AT_FDCWD:
            directory = f"fd/{call.number(0)}"
        with contextlib.ExitStack() as opened:
            caller = _look_at(call, directory, home, opened)
            node = _Node(path=call.text(arguments[0]), mode=mode, device=device)
            # Only now is it certain that all of this was the caller's, and not a later process's.
            call.check()
            child = syscalls.fork_bare()
            if child == 0:
                _be(caller, node)
            _, status = os.waitpid(child, 0)
        if trouble := os.waitstatus_to_exitcode(status):
            raise OSError(trouble, os.strerror(trouble))
        return 0

    return {"mknod": make, "mknodat": make}


def _look_at(
    call: Call, directory: str, home: os.stat_result, opened: contextlib.ExitStack
) -> _Caller:
    """Find out who calls. Raises OSError, PermissionError for one who may not."""

    def hold(name: str, flags: int = os.O_PATH) -> int:
        descriptor = call.open(name, flags)
        opened.callback(os.close, descriptor)
        return descriptor

    state = call.state()
    capabilities = int(state["CapEff"][0], 16)
    is_at_home = os.path.samestat(call.status("ns/user"), home)
    if not (is_at_home and capabilities >> _CAP_MKNOD & 1):
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
    return _Caller(
        mounts=hold("ns/mnt", os.O_RDONLY),
        root=hold("root"),
        directory=hold(directory),
        uid=int(state["Uid"][3]),
        gid=int(state["Gid"][3]),
        groups=tuple(int(each) for each in state["Groups"]),
        umask=int(state["Umask"][0], 8),
        capabilities=capabilities & _FILE_CAPABILITIES,
    )


def _be(caller: _Caller, node: _Node) -> NoReturn:
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
        os.mknod(node.path, node.mode, node.device)
        status = 0
    except OSError as error:
        status = error.errno or errno.EPERM
    finally:
        os._exit(status)
