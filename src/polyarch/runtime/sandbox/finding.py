"""The files that calls of a step are about, opened as the kernel would find them for the caller.

Who finds has made the caller's root its own by chroot, so that absolute links and `..` stay in there, and the
kernel resolves each path once. All that is opened is a name for a file (O_PATH), which nothing happens to by that,
and links of /proc to what processes have open aren't followed: /proc is the caller's, `self` is not.

A file that was opened is named by its descriptor in our own /proc/self/fd, which is the working directory:
it is found nowhere else, whatever the root is.

Source: openat2(2), chroot(2), proc(5).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator

from polyarch import syscalls
from polyarch.pattern import pattern
from polyarch.runtime.sandbox.listening import Call

__all__ = ["Finder"]

_OWN = pattern(rb"/(?:proc/(?:self|thread-self)|dev)/fd/([0-9]{1,9})")
"""What a path looks like that means what its user has open."""
_STREAMS = {b"/dev/stdin": 0, b"/dev/stdout": 1, b"/dev/stderr": 2}


class Finder:
    """Opens files for calls; its process has given up its own root and working directory for that."""

    def __init__(self) -> None:
        """Begin. Raises OSError."""
        self._named = os.open("/proc/self/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._root: os.stat_result | None = None
        os.fchdir(self._named)

    @contextlib.contextmanager
    def at(self, call: Call, directory: int, path: bytes, *, follow: bool = True) -> Iterator[int]:
        """Open what `path` names for the caller; `directory` is a descriptor of its, or AT_FDCWD.

        Raises OSError as the kernel does.
        """
        own = self._own(path) if follow else None
        opened = (
            call.open(f"fd/{own}") if own is not None else self._open(call, directory, path, follow)
        )
        try:
            call.check()
            yield opened
        finally:
            os.close(opened)

    @contextlib.contextmanager
    def descriptor(self, call: Call, number: int) -> Iterator[int]:
        """Open what the caller has open as `number`; AT_FDCWD is its working directory. Raises OSError."""
        opened = call.open("cwd" if number == syscalls.AT_FDCWD else f"fd/{number}")
        try:
            call.check()
            yield opened
        finally:
            os.close(opened)

    @contextlib.contextmanager
    def parent(self, call: Call, directory: int, path: bytes) -> Iterator[tuple[int, bytes]]:
        """Open the directory in which `path` is to be made; give the last name, too. Raises OSError."""
        above, slash, name = path.rstrip(b"/").rpartition(b"/")
        with self.at(call, directory, above + slash or b".") as opened:
            yield opened, name

    def _own(self, path: bytes) -> int | None:
        if not path.startswith((b"/dev/", b"/proc/")):
            return None
        found = _OWN.fullmatch(path)
        return int(found[1]) if found else _STREAMS.get(path)

    def _open(self, call: Call, directory: int, path: bytes, follow: bool) -> int:
        self._enter(call)
        flags = os.O_PATH if follow else os.O_PATH | os.O_NOFOLLOW
        if path.startswith(b"/"):
            return _openat(self._named, path, flags)
        with self.descriptor(call, directory) as base:
            return _openat(base, path, flags)

    def _enter(self, call: Call) -> None:
        """Have the caller's root."""
        root = call.status("root")
        if self._root is not None and os.path.samestat(root, self._root):
            return
        opened = call.open("root")
        try:
            call.check()
            os.fchdir(opened)
            os.chroot(".")
        finally:
            os.close(opened)
            os.fchdir(self._named)
        self._root = root


def _openat(directory: int, path: bytes, flags: int) -> int:
    return syscalls.openat2(directory, path, flags, resolve=syscalls.RESOLVE_NO_MAGICLINKS)
