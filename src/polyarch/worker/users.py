"""Users and groups as a root file system knows them.

Two questions are asked of `/etc/passwd` and `/etc/group`, with different manners: who owns copied
files (`--chown`; unknown names silently become 0, as with BuildKit), and who a process runs as
(`USER`; unknown names are an error, as with runc).
"""

from __future__ import annotations

from pathlib import Path

from polyarch.errors import InputError
from polyarch.inroot import resolve
from polyarch.record import frozen

__all__ = ["Account", "Owner", "account", "owner"]

_MAX_DATABASE = 16 << 20


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


def _rows(root: Path, path: str, fields: int) -> list[list[str]]:
    """Read a colon-separated file; lines with too few fields, and a missing file, are no error."""
    try:
        with resolve(root, path).open("rb") as stream:
            text = stream.read(_MAX_DATABASE).decode("utf-8", "surrogateescape")
    except OSError:
        return []
    rows = [line.strip().split(":") for line in text.splitlines()]
    return [row for row in rows if len(row) >= fields and not row[0].startswith("#")]


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


def _users(root: Path) -> list[_Passwd]:
    users = []
    for row in _rows(root, "/etc/passwd", 4):
        uid, gid = _number(row[2]), _number(row[3])
        if uid is not None and gid is not None:
            users.append(
                _Passwd(name=row[0], uid=uid, gid=gid, home=row[5] if len(row) > 5 else "/")
            )
    return users


def _groups(root: Path) -> list[_Group]:
    groups = []
    for row in _rows(root, "/etc/group", 3):
        gid = _number(row[2])
        if gid is not None:
            members = tuple(name for name in row[3].split(",") if name) if len(row) > 3 else ()
            groups.append(_Group(name=row[0], gid=gid, members=members))
    return groups


def owner(root: Path | None, text: str) -> Owner:
    """Return the owner that `--chown=text` means in the tree at `root`.

    `user` alone takes the user's primary group (a number: the same number). An unknown user is 0:0, an
    unknown group is the user's id. Without a root (`--link`) only numbers are known. Raises InputError
    for a name where there is no root to look it up in.
    """
    user, separator, group = text.partition(":")
    found = _owner_of_user(root, user)
    if not separator:
        return found
    return Owner(uid=found.uid, gid=_gid(root, group, found.uid))


def _owner_of_user(root: Path | None, name: str) -> Owner:
    number = _number(name)
    if number is not None:
        return Owner(uid=number, gid=number)
    if not name:
        return Owner(uid=0, gid=0)
    if root is None:
        raise InputError("invalid user index: -1", hint=f"use a number instead of {name!r}")
    for user in _users(root):
        if user.name == name:
            return Owner(uid=user.uid, gid=user.gid)
    return Owner(uid=0, gid=0)


def _gid(root: Path | None, name: str, fallback: int) -> int:
    number = _number(name)
    if number is not None:
        return number
    if root is None:
        raise InputError("invalid user index: -1", hint=f"use a number instead of {name!r}")
    return next((group.gid for group in _groups(root) if group.name == name), fallback)


def account(root: Path, text: str) -> Account:
    """Return who `USER text` runs as in the tree at `root`.

    A number needs no entry (its group is then 0). A name, or a number with an entry, has the entry's
    primary group and the supplementary groups of `/etc/group`; a group that is named has no others
    beside it. Raises InputError for a name that isn't there.
    """
    user, separator, group = text.partition(":")
    entry, uid = _find_user(root, user or "0")
    home = entry.home if entry else "/"
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
