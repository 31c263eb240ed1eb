"""Extended attributes of files that are copied: which go along, and what a file system may refuse.

Source: xattr(7); the `copy` package of BuildKit's fsutil.
"""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["NO_SPACE", "attributes_of", "copy_attributes", "is_copied"]

NO_SPACE = (28, 122)
"""ENOSPC and EDQUOT, which are no refusal: the disk is full."""


def attributes_of(path: str | int) -> list[str]:
    """List the extended attributes of an open file, or of a path whose links aren't followed."""
    try:
        return os.listxattr(path, follow_symlinks=isinstance(path, int))
    except OSError:
        return []  # a file system without them


def is_copied(name: str) -> bool:
    """Tell whether an attribute belongs to the file, not to this machine's policy."""
    if name.startswith(("user.overlay.", "trusted.", "system.", "user.polyarch.")):
        return False
    return not name.startswith("security.") or name == "security.capability"


def copy_attributes(source: str | int, target: Path | int, names: list[str]) -> None:
    """Copy those extended attributes that belong to the file, not to this machine's policy.

    Source and target are open files, or paths whose links aren't followed. Where a file system has none, or refuses one, the rest is left out, as BuildKit does.
    """
    try:
        for name in filter(is_copied, names):
            value = os.getxattr(source, name, follow_symlinks=isinstance(source, int))
            os.setxattr(target, name, value, follow_symlinks=isinstance(target, int))
    except OSError as error:
        if error.errno in NO_SPACE:
            raise
