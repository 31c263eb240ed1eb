"""Users and groups as a root file system knows them.

Two questions are asked of `/etc/passwd` and `/etc/group`, with different manners: who owns copied
files (`--chown`; unknown names silently become 0, as with BuildKit), and who a process runs as
(`USER`; unknown names are an error, as with runc). What is written as a number is that id to both, and never
the name of an entry: an image's passwd could make anybody root by one called `1234`.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from polyarch.errors import InputError
from polyarch.inroot import get_owner, read_small
from polyarch.pattern import pattern
from polyarch.record import frozen
from polyarch.text.owner import owner_number

__all__ = ["Account", "Owner", "account", "owner", "owner_of_new"]

_MAX_DATABASE = 16 << 20
_NUMERIC = pattern(r"[+-]?[0-9]+")
_INTEGER = pattern(r"[+-]?[0-9]{1,18}")
_MOST_ID = (1 << 31) - 1


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

    def owner(self) -> Owner:
        """Return the entry's ids. Raises InputError for what is none."""
        what = f"/etc/passwd, {self.name!r}"
        return Owner(uid=_in_range(self.uid, what), gid=_in_range(self.gid, what))


@frozen
class _Group:
    name: str
    gid: int
    members: tuple[str, ...]

    def checked(self) -> int:
        """Return the entry's id. Raises InputError for what is none."""
        return _in_range(self.gid, f"/etc/group, {self.name!r}")


def _rows(root: Path, path: str) -> list[list[str]]:
    """Read a colon-separated file; a missing one, and a line with too few fields, are no error.

    Raises InputError for one that is no regular file, or too large.
    """
    try:
        data = read_small(path, _MAX_DATABASE, "file of users or groups", root=root)
    except OSError:
        return []
    text = data.decode("utf-8", "surrogateescape")
    lines = (line.strip() for line in text.split("\n"))
    # What a line leaves out is empty, as with the C library's and runc's readers.
    return [[*line.split(":"), *[""] * 6] for line in lines if line]


def _number(text: str) -> int | None:
    """Return the id that a text is, None for a name. Raises InputError for a number that is no id."""
    if not _NUMERIC.fullmatch(text):
        return None
    digits = text.lstrip("+-").lstrip("0")
    number = int(digits or "0") if len(digits) <= len(str(_MOST_ID)) else _MOST_ID + 1
    return _in_range(-number if text.startswith("-") else number, f"user or group {text[:40]}")


def _in_range(number: int, what: str) -> int:
    """Return an id that a process or a file can have. Raises InputError."""
    if not 0 <= number <= _MOST_ID:
        raise InputError(f"{what}: uids and gids must be in range 0-{_MOST_ID}")
    return number


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
    group. An unknown user is 0:0. `root` is 0 whatever the databases say, and an empty name is 0. Raises InputError for an entry
    whose number is no id.
    """
    user, separator, group = text.partition(":")
    found = _owner_of_user(root, user)
    if not separator:
        return found
    number = owner_number(group)
    if number is None:
        groups = _groups(root)
        found_group = next((each for each in groups if each.name == group), None)
        number = found_group.checked() if found_group else found.gid
    return Owner(uid=found.uid, gid=number)


def owner_of_new(directory: Path) -> Owner:
    """Return who owns what root makes in a directory and gives to nobody: its group is that of one with the setgid bit."""
    status = os.stat(directory)
    gid = get_owner(directory, status)[1] if status.st_mode & stat.S_ISGID else 0
    return Owner(uid=0, gid=gid)


def _owner_of_user(root: Path, name: str) -> Owner:
    number = owner_number(name)
    if number is not None:
        return Owner(uid=number, gid=number)
    for user in _users(root):
        if user.name == name:
            return user.owner()
    return Owner(uid=0, gid=0)


def account(root: Path, text: str) -> Account:
    """Return who `USER text` runs as in the tree at `root`.

    A number needs no entry (its group is then 0). A name, or a number that is an entry's id, has the entry's
    primary group and the supplementary groups of `/etc/group`; a group that is named has no others
    beside it. Raises InputError for a name that isn't there, and for a number that is no id.
    """
    user, separator, group = text.partition(":")
    entry, uid = _find_user(root, user or "0")
    home = (entry.home if entry else "") or "/"
    if separator and group:
        return Account(uid=uid, gid=_find_group(root, group), home=home)
    if entry is None:
        return Account(uid=uid, gid=0, home=home)
    extra = tuple(each.checked() for each in _groups(root) if entry.name in each.members)
    return Account(uid=uid, gid=entry.owner().gid, groups=extra, home=home)


def _find_user(root: Path, name: str) -> tuple[_Passwd | None, int]:
    number = _number(name)
    for user in _users(root):
        if user.name == name if number is None else user.uid == number:
            return user, user.owner().uid
    if number is None:
        raise InputError(
            f"unable to find user {name}: no matching entries in passwd file",
            hint="create the user in an earlier RUN, or use its number",
        )
    return None, number


def _find_group(root: Path, name: str) -> int:
    number = _number(name)
    if number is not None:
        return number
    for group in _groups(root):
        if group.name == name:
            return group.checked()
    raise InputError(
        f"unable to find group {name}: no matching entries in group file",
        hint="create the group in an earlier RUN, or use its number",
    )
