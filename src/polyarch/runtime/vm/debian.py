"""Packages of Debian's, read without dpkg: `.deb` -> its files.

A package is an `ar` archive whose member `data.tar.*` holds the files. That is unpacked once into a file
that has no name any more, as the files wanted of it depend on one another. Source: deb(5), ar(5).
"""

from __future__ import annotations

import gzip
import lzma
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from polyarch.errors import InputError
from polyarch.runtime.vm.modules import zstd

__all__ = ["PackageFiles", "open_package"]

_MAGIC = b"!<arch>\n"
_HEADER = 60
_CHUNK = 1 << 20


class PackageFiles:
    """The files of a package, by their paths without a leading `/`."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive
        self._members = {
            each.name.removeprefix("./"): each for each in archive.getmembers() if each.isfile()
        }

    def paths(self) -> list[str]:
        """Return the paths of the regular files."""
        return list(self._members)

    def read(self, path: str) -> bytes:
        """Return what a file holds. Raises KeyError."""
        stream = self._archive.extractfile(self._members[path])
        assert stream is not None
        return stream.read()


@contextmanager
def open_package(path: Path, scratch: Path) -> Iterator[PackageFiles]:
    """Give the files of the package at `path`, unpacked in the directory `scratch`.

    Raises InputError if it is none, OSError.
    """
    with open(path, "rb") as package, tempfile.TemporaryFile(dir=scratch) as plain:
        try:
            stream = _data(package)
            while piece := stream.read(_CHUNK):
                plain.write(piece)
            plain.seek(0)
            archive = tarfile.TarFile(fileobj=plain)
        except (EOFError, ValueError, lzma.LZMAError, gzip.BadGzipFile, tarfile.TarError) as error:
            why = str(error) or "it is cut short"
            raise InputError(f"{path} is no package of Debian's: {why}") from error
        with archive:
            yield PackageFiles(archive)


def _data(package: IO[bytes]) -> IO[bytes] | gzip.GzipFile:
    """Find the archive of files in a package; return a stream of it. Raises ValueError, EOFError."""
    if package.read(len(_MAGIC)) != _MAGIC:
        raise ValueError("it doesn't begin as one")
    while True:
        header = package.read(_HEADER)
        if len(header) < _HEADER:
            raise EOFError
        name = header[:16].decode(errors="replace").strip().rstrip("/")
        size = int(header[48:58])
        if name.startswith("data.tar"):
            return _unpacking(package, name)
        package.seek(size + size % 2, 1)


def _unpacking(package: IO[bytes], name: str) -> IO[bytes] | gzip.GzipFile:
    if name.endswith(".xz"):
        return lzma.open(package)
    if name.endswith(".gz"):
        return gzip.open(package)
    if name.endswith(".zst"):
        return zstd().open(package)
    if name == "data.tar":
        return package
    raise ValueError(f"{name} is packed in a way that isn't known")
