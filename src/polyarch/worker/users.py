"""Users and groups as a root file system knows them.

Two questions are asked of `/etc/passwd` and `/etc/group`, with different manners: who owns copied
files (`--chown`; unknown names silently become 0, as with BuildKit), and who a process runs as
(`USER`; unknown names are an error, as with runc).
"""

from __future__ import annotations

import re
from pathlib import Path

from polyarch.errors import InputError
from polyarch.inroot import resolve
from polyarch.record import frozen
from polyarch.text.owner import owner_number

__all__ = ["Account", "Owner", "account", "owner"]

_MAX_DATABASE = 16 << 20
_DIGITS = re.compile(r"[0-9]{1,19}")
_INTEGER = re.compile(r"[+-]?[0-9]{1,18}")


@frozen
class Owner:
    """Numeric owner of a file."""

    uid: int
    gid: int


@frozen
class Account:
    """Who a process runs as; `groups` are the supplementary ones."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    home: str = "/"


@frozen
class _Passwd:
    name: str
    uid: int
    gid: int
    home: str


@frozen
class _Group:
    name: str
    gid: int
    members: tuple[str, ...]


def _rows(root: Path, path: str) -> list[list[str]]:
    """Read a colon-separated file; a missing one, and a line with too few fields, are no error."""
    try:
        with resolve(root, path).open("rb") as stream:
            text = stream.read(_MAX_DATABASE).decode("utf-8", "surrogateescape")
    except OSError:
        return []
    lines = (line.strip() for line in text.split("\n"))
    # What a line leaves out is empty, as with the C library's and runc's readers.
    return [[*line.split(":"), *[""] * 6] for line in lines if line]


def _number(text: str) -> int | None:
    return int(text) if _DIGITS.fullmatch(text) else None  # with more it would be a name


def _id(text: str) -> int:
    """Read an id of a database: what is no number is 0, as with runc."""
    return int(text) if _INTEGER.fullmatch(text) else 0


def _users(root: Path) -> list[_Passwd]:
    return [
        _Passwd(name=row[0], uid=_id(row[2]), gid=_id(row[3]), home=row[5])
        for row in _rows(root, "/etc/passwd")
    ]


def _groups(root: Path) -> list[_Group]:
    return [
        _Group(
            name=row[0], gid=_id(row[2]), members=tuple(name for name in row[3].split(",") if name)
        )
        for row in _rows(root, "/etc/group")
    ]


def owner(root: Path, text: str) -> Owner:
    """Return the owner that `--chown=text` means in the tree at `root`.

    `user` alone takes the user's primary group (a number: the same number), and so does an unknown
    group. An unknown user is 0:0. `root` is 0 whatever the databases say, and an empty name is 0.
    """
    user, separator, group = text.partition(":")
    found = _owner_of_user(root, user)
    if not separator:
        return found
    number = owner_number(group)
    if number is None:
        groups = _groups(root)
        number = next((each.gid for each in groups if each.name == group), found.gid)
    return Owner(uid=found.uid, gid=number)


def _owner_of_user(root: Path, name: str) -> Owner:
    number = owner_number(name)
    if number is not None:
        return Owner(uid=number, gid=number)
    for user in _users(root):
        if user.name == name:
            return Owner(uid=user.uid, gid=user.gid)
    return Owner(uid=0, gid=0)


def account(root: Path, text: str) -> Account:
    """Return who `USER text` runs as in the tree at `root`.

    A number needs no entry (its group is then 0). A name, or a number with an entry, has the entry's
    primary group and the supplementary groups of `/etc/group`; a group that is named has no others
    beside it. Raises InputError for a name that isn't there.
    """
    user, separator, group = text.partition(":")
    entry, uid = _find_user(root, user or "0")
    home = (entry.home if entry else "") or "/"
    if separator and group:
        return Account(uid=uid, gid=_find_group(root, group), home=home)
    if entry is None:
        return Account(uid=uid, gid=0, home=home)
    extra = tuple(each.gid for each in _groups(root) if entry.name in each.members)
    return Account(uid=uid, gid=entry.gid, groups=extra, home=home)


def _find_user(root: Path, name: str) -> tuple[_Passwd | None, int]:
    number = _number(name)
    for user in _users(root):
        if user.name == name or user.uid == number:
            return user, user.uid
    if number is None:
        raise InputError(
            f"unable to find user {name}: no matching entries in passwd file",
            hint="create the user in an earlier RUN, or use its number",
        )
    return None, number


def _find_group(root: Path, name: str) -> int:
    number = _number(name)
    for group in _groups(root):
        if group.name == name or group.gid == number:
            return group.gid
    if number is None:
        raise InputError(
            f"unable to find group {name}: no matching entries in group file",
            hint="create the group in an earlier RUN, or use its number",
        )
    return number
