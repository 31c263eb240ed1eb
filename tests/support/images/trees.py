"""Small trees on disk: made from a mapping, and read back to one."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path

__all__ = ["MTIME", "look_at", "plant"]

MTIME = 1_600_000_000


def plant(root: Path, files: Mapping[str, str | None]) -> Path:
    """Make files with the given texts; None makes a directory, "-> x" a link. All have one mtime."""
    root.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if text is None:
            path.mkdir(exist_ok=True)
        elif text.startswith("-> "):
            path.symlink_to(text[3:])
        else:
            path.write_text(text)
    for directory, directories, names in os.walk(root, topdown=False):
        for name in directories + names:
            os.utime(Path(directory) / name, (MTIME, MTIME), follow_symlinks=False)
    return root


def look_at(root: Path) -> dict[str, str | None]:
    """Return what `plant` would take to make the tree; whiteouts are "(whiteout)"."""
    found: dict[str, str | None] = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        name = str(path.relative_to(root))
        if stat.S_ISDIR(status.st_mode):
            found[name] = None
        elif stat.S_ISLNK(status.st_mode):
            found[name] = f"-> {path.readlink()}"
        elif stat.S_ISCHR(status.st_mode):
            found[name] = "(whiteout)"
        else:
            found[name] = path.read_text()
    return found
