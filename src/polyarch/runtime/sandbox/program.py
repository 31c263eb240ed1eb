"""Starting a step's program, and never the one that this process runs by.

That is the machine's Python. As `/proc/self/exe`, whether the image names it so, by a link, or as the
interpreter of a script, it would be run with the image's libraries, and root of the step could change its mode
or its owner (the class of CVE-2019-5736). So no link of /proc may lead to a program.

In the root, which no other step has, looking before starting is enough. What lies on a mount may change
meanwhile, and so may anything beside a step that runs: that is started by its descriptor, and for a script this does
what the kernel does.

Source: execve(2), load_script in fs/binfmt_script.c of Linux.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
from collections.abc import Mapping

from polyarch import syscalls
from polyarch.pattern import pattern
from polyarch.record import frozen

__all__ = ["start_program"]

_START = 256
"""Bytes of a script in which Linux looks for its interpreter (BINPRM_BUF_SIZE)."""
_INTERPRETERS = 6
_FIRST_LINE = pattern(rb"#![ \t]*([^ \t]+)[ \t]*(.*?)[ \t]*", re.DOTALL)


@frozen
class _Found:
    """A program that was looked at: `opened` is a descriptor that exec closes."""

    path: bytes
    opened: int
    is_in_root: bool
    interpreter: tuple[bytes, ...]
    """That of a script, with its argument if it has one; empty for other programs."""


def start_program(
    path: bytes,
    words: list[bytes],
    environment: Mapping[bytes, bytes],
    *,
    own: os.stat_result,
    is_alone: bool = True,
) -> None:
    """Replace the process by the program at `path`, or raise OSError.

    `own` is what it runs by now; `is_alone` says that nobody else can change the root.
    """
    chain = [_look_at(path, own)]
    # Linux goes on through five scripts, and refuses the next.
    while chain[-1].interpreter and len(chain) < _INTERPRETERS:
        chain.append(_look_at(chain[-1].interpreter[0], own))
    if not is_alone:
        # For an emulator, which opens a program by what the kernel calls the descriptor.
        os.set_inheritable(chain[-1].opened, True)
        _start_opened(chain, words, environment)
    if not all(each.is_in_root for each in chain):
        with contextlib.suppress(FileNotFoundError):  # of a program of another architecture
            _start_opened(chain, words, environment)
    _execute(path, words, environment)


def _start_opened(
    chain: list[_Found], words: list[bytes], environment: Mapping[bytes, bytes]
) -> None:
    """Start the last of a chain of interpreters as the kernel would, but by its descriptor."""
    for script in chain[:-1]:
        words = [*script.interpreter, script.path, *words[1:]]
    _execute(chain[-1].opened, words, environment)


def _execute(program: bytes | int, words: list[bytes], environment: Mapping[bytes, bytes]) -> None:
    os.execve(program, words, environment)  # noqa: S606 no shell is what we want


def _look_at(path: bytes, own: os.stat_result) -> _Found:
    """Find a program without any link of /proc. Raises OSError."""
    place = os.path.join(os.getcwdb(), path)
    try:
        opened, is_in_root = _open(place, os.O_PATH, syscalls.RESOLVE_NO_XDEV), True
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        opened, is_in_root = _open(place, os.O_PATH), False
    status = os.fstat(opened)
    # The machine's Python, by whatever name the image has put it there.
    if os.path.samestat(status, own):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    is_file = stat.S_ISREG(status.st_mode)
    return _Found(
        path=path,
        opened=opened,
        is_in_root=is_in_root,
        interpreter=_interpreter(place, status) if is_file else (),
    )


def _open(path: bytes, flags: int, resolve: int = 0) -> int:
    resolve |= syscalls.RESOLVE_NO_MAGICLINKS
    return syscalls.openat2(syscalls.AT_FDCWD, path, flags, resolve=resolve)


def _interpreter(path: bytes, status: os.stat_result) -> tuple[bytes, ...]:
    """Return what the first line of a script names, with the rest of the line as one argument."""
    try:
        with open(_open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY), "rb") as file:
            # Opened by its name a second time, as O_PATH can't be read: on a mount it may be another file by now.
            if not os.path.samestat(os.fstat(file.fileno()), status):
                raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            line = file.read(_START).partition(b"\n")[0]
    except PermissionError:
        return ()  # it may be run, not read: no script
    found = _FIRST_LINE.fullmatch(line)
    return tuple(filter(None, found.groups())) if found else ()
