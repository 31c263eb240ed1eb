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
            text="only your own: which users own files, and which ones processes are, is recorded, "
            "and what users may do isn't enforced",
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
    """Return what to do about a step of runc or crun that ended with these lines for want of user ids; "" otherwise.

    To be called in the engine, where there is a single id.
    """
    if not any(complaint in line for line in lines for complaint in _COMPLAINTS):
        return ""
    (line,) = _read("/proc/self/uid_map").splitlines()
    trouble = find_id_trouble(subid_names(int(line.split()[1])))
    fix = trouble.fix if trouble is not None else "polyarch doctor says more"
    return (
        "this runtime has no user ids but your own here, which chown and su can't do without: "
        f"leave POLYARCH_RUNTIME out, or: {fix}"
    )


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
