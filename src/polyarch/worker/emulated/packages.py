"""What the package databases in a layer say of its files: whether they are as a package brought them.

dpkg keeps the names of all files of a package in `.list`, and the MD5 of regular ones in `.md5sums`; apk keeps
names and SHA-1 in one file. Source: deb-md5sums(5); apk(5) of apk-tools, “installed database”.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

__all__ = ["Packages", "is_database"]

_DPKG = "var/lib/dpkg/info"
_APK = ("lib/apk/db/installed", "usr/lib/apk/db/installed")
_SHA1 = "Q1"
_DATABASES = ("/var/lib/dpkg/", "/var/lib/apt/lists/", "/lib/apk/db/", "/usr/lib/apk/db/")
_MERGED = "/usr"


def is_database(path: str) -> bool:
    """Tell whether a file, absolute in the root, is of dpkg, apt or apk, which never run natively."""
    return path.startswith(_DATABASES)


class Packages:
    """The packages that a layer has installed, read when they are first asked about."""

    def __init__(self, layer: Path) -> None:
        self._layer = layer
        self._known: dict[str, str] | None = None

    def name(self, path: str) -> bool:
        """Tell whether a package has such a name in it: a path that is absolute in the root."""
        return self._find(path) is not None

    def brought(self, path: str, file: Path) -> bool:
        """Tell whether a package brought the file as it is."""
        digest = self._find(path)
        if not digest:
            return False
        if digest.startswith(_SHA1):
            with open(file, "rb") as content:
                found = hashlib.file_digest(content, _sha1).digest()
            return base64.b64decode(digest.removeprefix(_SHA1) + "==") == found
        with open(file, "rb") as content:
            return hashlib.file_digest(content, _md5).hexdigest() == digest

    def _find(self, path: str) -> str | None:
        """Return the digest that a package has of a path, "" if it only has the name; None for neither."""
        if self._known is None:
            self._known = {**dict(self._dpkg()), **dict(self._apk())}
        # Packages of before the great move have /bin/x, which is /usr/bin/x now.
        return self._known.get(path, self._known.get(path.removeprefix(_MERGED)))

    def _dpkg(self) -> Iterator[tuple[str, str]]:
        directory = self._layer / _DPKG
        for listed in sorted(directory.glob("*.list")):
            for line in _lines(listed):
                yield line, ""
        for sums in sorted(directory.glob("*.md5sums")):
            for line in _lines(sums):
                digest, _, path = line.partition("  ")
                yield f"/{path}", digest

    def _apk(self) -> Iterator[tuple[str, str]]:
        for name in _APK:
            directory = path = ""
            for line in _lines(self._layer / name):
                field, _, value = line.partition(":")
                if field == "F":
                    directory = f"/{value}"
                    yield directory, ""
                elif field == "R":
                    path = f"{directory}/{value}"
                    yield path, ""
                elif field == "Z":
                    yield path, value


def _lines(path: Path) -> list[str]:
    # Links are left alone: what they lead to isn't of this layer.
    if path.is_symlink() or not path.is_file():
        return []
    return path.read_text(encoding="utf-8", errors="surrogateescape").splitlines()


def _md5() -> hashlib._Hash:
    return hashlib.md5(usedforsecurity=False)


def _sha1() -> hashlib._Hash:
    return hashlib.sha1(usedforsecurity=False)
