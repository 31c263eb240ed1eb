"""Subordinate ids: whether an ordinary user has any to give to steps, and how to get them.

Source: subuid(5), newuidmap(1).
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from polyarch.namespaces.userns import parse_subids, subid_names
from polyarch.record import frozen

__all__ = ["MORE_IDS", "IdTrouble", "find_id_trouble", "id_hint"]

MORE_IDS = "usermod --add-subuids 100000-165535 --add-subgids 100000-165535"
"""What root does, with the user's name behind it."""

# What programs say that can't give a file to somebody who doesn't exist, or become them: the kernel's
# words for it; a member of no group hears of setgroups.
_COMPLAINTS = ("Invalid argument", "setgroups", "set groups", "initgroups")


@frozen
class IdTrouble:
    """Why steps have only the user's own id, and the command that fixes it."""

    text: str
    fix: str


def find_id_trouble(names: tuple[str, ...]) -> IdTrouble | None:
    """Return what keeps an ordinary user, called by any of `names`, from using subordinate ids."""
    counts = [
        sum(each.count for each in parse_subids(_read(path), names))
        for path in ("/etc/subuid", "/etc/subgid")
    ]
    if not all(counts):
        return IdTrouble(
            text="only your own: steps can't use other users, as most packages' installers want to",
            fix=f"sudo {MORE_IDS} {names[-1]}",
        )
    directories = os.environ.get("PATH", os.defpath).split(":")
    for tool in ("newuidmap", "newgidmap"):
        if not any(os.access(os.path.join(directory, tool), os.X_OK) for directory in directories):
            return IdTrouble(
                text=f"{min(counts)} subordinate ids can't be used without {tool}",
                fix="sudo apt-get install uidmap",
            )
    return None


def id_hint(lines: Iterable[str]) -> str:
    """Return what to do about a step that ended with these lines for want of user ids; "" otherwise.

    To be called in the engine.
    """
    maps = [line.split() for line in _read("/proc/self/uid_map").splitlines()]
    if len(maps) != 1 or maps[0][2] != "1":
        return ""
    if not any(complaint in line for line in lines for complaint in _COMPLAINTS):
        return ""
    trouble = find_id_trouble(subid_names(int(maps[0][1])))
    fix = trouble.fix if trouble is not None else "polyarch doctor says more"
    return f"steps have no user ids but your own here, which chown and su can't do without: {fix}"


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
