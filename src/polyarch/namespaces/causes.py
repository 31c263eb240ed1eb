"""What keeps the kernel from making a namespace, and the command that changes it.

Source: user_namespaces(7), the sysctls of Debian and Ubuntu.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable

from polyarch.errors import NamespaceForbidden

__all__ = ["forbidden", "namespace_trouble"]

_CAUSES: tuple[tuple[str, Callable[[str], bool], str, str], ...] = (
    (
        "/proc/sys/kernel/unprivileged_userns_clone",
        lambda value: value == "0",
        "kernel.unprivileged_userns_clone is 0",
        "sysctl -w kernel.unprivileged_userns_clone=1",
    ),
    (
        "/proc/sys/user/max_user_namespaces",
        lambda value: value == "0",
        "user.max_user_namespaces is 0",
        "sysctl -w user.max_user_namespaces=15000",
    ),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        lambda value: value == "1",
        "kernel.apparmor_restrict_unprivileged_userns is 1",
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
)


def namespace_trouble(error: OSError) -> str:
    """Return what an error means for who makes a namespace: a full disk it is not."""
    if error.errno == errno.ENOSPC:
        return "the limit of namespaces is reached"
    return os.strerror(error.errno or 0)


def forbidden(error: OSError, root: str = "") -> NamespaceForbidden:
    """Find out what made the kernel refuse a namespace, or a mount in one; `root` is for tests."""
    message = f"namespaces for the build can't be made: {namespace_trouble(error)}"
    for path, is_cause, cause, command in _CAUSES:
        if is_cause(_read(root + path).strip()):
            return NamespaceForbidden(message, hint=f"{cause}; run as root: {command}")
    if "\nSeccomp:\t2" in _read(f"{root}/proc/self/status"):
        return NamespaceForbidden(
            message,
            hint="a seccomp filter is in force, most likely that of a surrounding container; "
            "start that with: --security-opt seccomp=unconfined",
        )
    return NamespaceForbidden(
        message, hint="see whether this works, and what it says: unshare --user --mount true"
    )


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
