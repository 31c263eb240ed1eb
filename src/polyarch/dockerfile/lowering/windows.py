"""Paths of Windows images: those that BuildKit takes, and why it refuses others.

An image has one drive, `C:`; its letter goes away, and backslashes are slashes until the config is
written. The rules are those of BuildKit's `util/system/path.go`.
"""

from __future__ import annotations

import posixpath

from polyarch.errors import DockerfileError
from polyarch.golang.strconv import quote

__all__ = ["windows_path"]


def windows_path(path: str, *, keep_slash: bool = False) -> str:
    """Return a path without its drive, with slashes, cleaned; "" stays empty.

    `keep_slash` keeps a slash at the end, which says that a directory is meant. Raises DockerfileError for
    another drive, a drive alone, and a share of another machine.
    """
    path = _without_drive(path.replace("\\", "/"))
    cleaned = posixpath.normpath(path) if path else ""
    return cleaned + "/" if keep_slash and path.endswith("/") and cleaned != "/" else cleaned


def _without_drive(path: str) -> str:
    if len(path) == 2 and path[1] == ":":
        raise DockerfileError(f"No relative path specified in {quote(path)}")
    if path.startswith("//"):
        raise DockerfileError("UNC paths are not supported")
    drive, colon, rest = path.partition(":")
    if colon and drive.lower() != "c":
        raise DockerfileError(
            "The specified path is not on the system drive (C:)",
            hint=f"an image has no other drives: {path!r} has to begin with C: or a slash",
        )
    return rest if colon else path
