"""Functions run in a child process with mount (and user) namespaces of its own."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable

from polyarch import syscalls

__all__ = ["in_mount_namespace", "in_user_namespace"]

_CLONE_NEWNS = 0x00020000
_CLONE_NEWUSER = 0x10000000


def in_mount_namespace(function: Callable[[], object]) -> None:
    """Call `function` in a child with a private mount namespace; its failure is the caller's."""
    _in_child(function, _CLONE_NEWNS)


def in_user_namespace(function: Callable[[], object]) -> None:
    """Do likewise, in a user namespace that maps nothing but the caller's own ids, to 0."""
    _in_child(function, _CLONE_NEWNS | _CLONE_NEWUSER)


def _in_child(function: Callable[[], object], flags: int) -> None:
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.close(reader)
            _enter(flags)
            function()
            status = 0
        except BaseException:  # noqa: BLE001 - the parent raises it
            os.write(writer, traceback.format_exc().encode()[-60000:])
        finally:
            os._exit(status)
    os.close(writer)
    with open(reader, "rb") as file:
        text = file.read().decode()
    _, result = os.waitpid(child, 0)
    if result != 0:
        raise AssertionError(f"the child failed ({result}):\n{text}")


def _enter(flags: int) -> None:
    uid, gid = os.geteuid(), os.getegid()
    syscalls.unshare(flags)
    if flags & _CLONE_NEWUSER:
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"0 {uid} 1"),
            ("gid_map", f"0 {gid} 1"),
        ):
            with open(f"/proc/self/{name}", "w", encoding="ascii") as file:
                file.write(text)
    syscalls.mount("none", "/", "", syscalls.MS_REC | syscalls.MS_PRIVATE)
