"""Users that a step can't have: who its processes say they are, where only one id is mapped.

Whoever calls setuid and its kin is told that it worked, and hears of it from getuid and its kin. The kernel
knows nothing of it: for that the processes stay what they are, root of their user namespace.

What a process is has to be inherited by those that it forks, at once, and kept by exec. There is something that the
kernel treats just so, which nothing has used since Linux 2.4 and which can be set from outside: the limit of
file locks (RLIMIT_LOCKS). Its soft value is a number that stands for the credentials. Programs that set all limits
(sudo does) are told that this one is set, and that there is none.

Source: credentials(7), setresuid(2), setrlimit(2); sys_setuid and its kin in kernel/sys.c of Linux.
"""

from __future__ import annotations

import errno
import os
import resource
import struct
from collections.abc import Mapping
from typing import NamedTuple

from polyarch.runtime.sandbox.listening import Call, Handler

__all__ = ["Credentials", "CredentialsTable", "Ids", "changed"]

_RLIMIT_LOCKS = 10
"""Which Python has no name for."""
_FIRST = 0x706F6C79 << 28
"""The limit that stands for root; no program would ask for so many locks."""
_MOST = 1 << 16
_MOST_GROUPS = 1024


class Ids(NamedTuple):
    """The four user or group ids of a process; `files` is what counts for files."""

    real: int = 0
    effective: int = 0
    saved: int = 0
    files: int = 0


class Credentials(NamedTuple):
    """Who a process says that it is."""

    uids: Ids = Ids()
    gids: Ids = Ids()
    groups: tuple[int, ...] = (0,)

    @property
    def is_root(self) -> bool:
        """Whether it may become anybody, and give files to anybody."""
        return self.uids.effective == 0


class CredentialsTable:
    """Knows the credentials of a step's processes, and answers the calls that ask for them or set them."""

    def __init__(self) -> None:
        self._known = [Credentials()]
        self._numbers = {Credentials(): 0}

    def of(self, call: Call) -> Credentials:
        """Return who the caller is. Raises OSError."""
        number = _limits(call)[0] - _FIRST
        return self._known[number] if 0 <= number < len(self._known) else self._known[0]

    def become(self, call: Call, who: Credentials) -> None:
        """Let the caller be somebody. Raises OSError."""
        number = self._numbers.get(who)
        if number is None:
            if len(self._known) >= _MOST:
                raise _error(errno.EAGAIN)
            number = self._numbers[who] = len(self._known)
            self._known.append(who)
        _, most = _limits(call)
        call.check()
        try:
            resource.prlimit(call.thread, _RLIMIT_LOCKS, (_FIRST + number, most))
        except ValueError as error:  # a step has limited it itself
            raise _error(errno.EPERM) from error

    def handlers(self) -> Mapping[str, Handler]:
        """Return who answers which call; one with 32 at its end is meant with it."""
        found = {
            **{f"get{name}": self._get for name in ("uid", "euid", "gid", "egid")},
            **{f"getres{kind}": self._get_all for kind in ("uid", "gid")},
            "getgroups": self._get_groups,
            **{
                f"set{prefix}{kind}": self._set
                for prefix in ("", "re", "res", "fs")
                for kind in ("uid", "gid")
            },
            "setgroups": self._set_groups,
            **dict.fromkeys(("getrlimit", "ugetrlimit", "setrlimit", "prlimit64"), _limit),
        }
        return {**found, **{f"{name}32": handler for name, handler in found.items()}}

    def _get(self, call: Call) -> int:
        who = self.of(call)
        name = call.name.removesuffix("32")
        ids = who.uids if name.endswith("uid") else who.gids
        return _shown(call, ids.effective if name.startswith("gete") else ids.real)

    def _get_all(self, call: Call) -> int:
        who = self.of(call)
        ids = who.uids if "uid" in call.name else who.gids
        for address, number in zip(call.arguments, ids[:3], strict=False):
            call.write(address, _packed(call, [number]))
        return 0

    def _get_groups(self, call: Call) -> int:
        groups = self.of(call).groups
        size = call.number(0)
        if size < 0 or 0 < size < len(groups):
            raise _error(errno.EINVAL)
        if size and groups:
            call.write(call.arguments[1], _packed(call, groups))
        return len(groups)

    def _set_groups(self, call: Call) -> int:
        who = self.of(call)
        if not who.is_root:
            raise _error(errno.EPERM)
        count = call.arguments[0] & 0xFFFFFFFF
        if count > _MOST_GROUPS:
            raise _error(errno.EINVAL)
        letter, size = ("H", 2) if _is_narrow(call) else ("I", 4)
        data = call.read(call.arguments[1], count * size) if count else b""
        if len(data) != count * size:
            raise _error(errno.EFAULT)
        self.become(call, who._replace(groups=struct.unpack(f"={count}{letter}", data)))
        return 0

    def _set(self, call: Call) -> int:
        who = self.of(call)
        name = call.name.removesuffix("32")
        after = changed(who, name, [_id(call, each) for each in call.arguments[:3]])
        if after != who:
            self.become(call, after)
        if not name.startswith("setfs"):
            return 0
        return _shown(call, (who.uids if name.endswith("uid") else who.gids).files)


def changed(who: Credentials, name: str, wanted: list[int]) -> Credentials:
    """Return who somebody is after a call like setuid; -1 in `wanted` is no id. Raises OSError."""
    of_user = name.endswith("uid")
    change = {"setu": _set_one, "setg": _set_one, "setf": _set_files}.get(name[:4])
    if change is None:
        change = _set_three if name.startswith("setres") else _set_two
    after = change(who.uids if of_user else who.gids, wanted, who.is_root)
    return who._replace(uids=after) if of_user else who._replace(gids=after)


def _set_one(before: Ids, wanted: list[int], is_root: bool) -> Ids:
    """As setuid. Raises OSError."""
    number = wanted[0]
    if number < 0:
        raise _error(errno.EINVAL)
    if is_root:
        return Ids(number, number, number, number)
    if number not in (before.real, before.saved):
        raise _error(errno.EPERM)
    return before._replace(effective=number, files=number)


def _set_two(before: Ids, wanted: list[int], is_root: bool) -> Ids:
    """As setreuid. Raises OSError."""
    real, effective = wanted[:2]
    after = before
    if real >= 0:
        if not (is_root or real in (before.real, before.effective)):
            raise _error(errno.EPERM)
        after = after._replace(real=real)
    if effective >= 0:
        if not (is_root or effective in before[:3]):
            raise _error(errno.EPERM)
        after = after._replace(effective=effective)
    if real >= 0 or (effective >= 0 and effective != before.real):
        after = after._replace(saved=after.effective)
    return after._replace(files=after.effective)


def _set_three(before: Ids, wanted: list[int], is_root: bool) -> Ids:
    """As setresuid. Raises OSError."""
    if not is_root and any(each >= 0 and each not in before[:3] for each in wanted):
        raise _error(errno.EPERM)
    real, effective, saved = (
        new if new >= 0 else old for new, old in zip(wanted, before[:3], strict=True)
    )
    return Ids(real, effective, saved, effective)


def _set_files(before: Ids, wanted: list[int], is_root: bool) -> Ids:
    """As setfsuid, which tells of no error."""
    number = wanted[0]
    may = number >= 0 and (is_root or number in before)
    return before._replace(files=number) if may else before


def _limit(call: Call) -> int:
    """Answer those who ask for our limit, or want to set it: there is none, and none is kept."""
    old = {"prlimit64": 3, "setrlimit": -1}.get(call.name, 1)
    if old >= 0 and call.arguments[old]:
        is_short = call.name != "prlimit64" and call.machine in {"i386", "arm", "s390"}
        call.write(call.arguments[old], b"\xff" * (8 if is_short else 16))
    return 0


def _limits(call: Call) -> tuple[int, int]:
    return resource.prlimit(call.thread, _RLIMIT_LOCKS)


def _is_narrow(call: Call) -> bool:
    """Tell whether the call is of the times when ids had 16 bits."""
    return call.machine in {"i386", "arm", "s390"} and not call.name.endswith("32")


def _id(call: Call, value: int) -> int:
    """Return an id that is an argument, -1 for none."""
    limit = 0xFFFF if _is_narrow(call) else 0xFFFFFFFF
    number = value & limit
    return -1 if number == limit else number


def _shown(call: Call, number: int) -> int:
    return number & 0xFFFF if _is_narrow(call) else number


def _packed(call: Call, numbers: list[int] | tuple[int, ...]) -> bytes:
    if _is_narrow(call):
        return struct.pack(f"={len(numbers)}H", *(each & 0xFFFF for each in numbers))
    return struct.pack(f"={len(numbers)}I", *numbers)


def _error(number: int) -> OSError:
    return OSError(number, os.strerror(number))
