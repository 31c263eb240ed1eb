"""Two results of one step, told apart file by file.

Times are left out: no two runs have the same. So is what only differs between two runs that do the same, names of
temporary files and random numbers say: the caller compares a second pair to find that out.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from polyarch.progress import check_cancelled

__all__ = ["Listing", "differing", "list_changes"]

Listing = Mapping[str, str]
"""What a layer has at each path, absolute in the root, as a text that is the same for the same."""


def list_changes(layer: Path) -> Listing:
    """Read all of a layer, which is in layer form."""
    found: dict[str, str] = {}
    todo = [""]
    while todo:
        above = todo.pop()
        with os.scandir(f"{layer}{above}") as entries:
            for entry in entries:
                check_cancelled()
                path = f"{above}/{entry.name}"
                found[path] = _describe(entry)
                if entry.is_dir(follow_symlinks=False):
                    todo.append(path)
    return found


def differing(one: Listing, other: Listing) -> frozenset[str]:
    """Return the paths at which two layers have something else."""
    return frozenset(path for path in one.keys() | other.keys() if one.get(path) != other.get(path))


def _describe(entry: os.DirEntry[str]) -> str:
    status = entry.stat(follow_symlinks=False)
    parts = [f"{status.st_mode:o}", f"{status.st_uid}:{status.st_gid}", f"{status.st_rdev}"]
    if stat.S_ISREG(status.st_mode):
        with open(entry.path, "rb") as file:
            parts.append(hashlib.file_digest(file, "sha256").hexdigest())
    elif stat.S_ISLNK(status.st_mode):
        parts.append(os.readlink(entry.path))
    for name in sorted(os.listxattr(entry.path, follow_symlinks=False)):
        # What overlayfs notes of where a file came from differs with every copy; that a directory hides doesn't.
        if ".overlay." not in name or name.endswith(".opaque"):
            value = os.getxattr(entry.path, name, follow_symlinks=False)
            parts.append(f"{name.removeprefix('trusted.').removeprefix('user.')}={value.hex()}")
    return " ".join(parts)
