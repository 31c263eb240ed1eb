"""The changes of a step -> what in them a foreign run would not have made.

A native program does what the foreign one does, but for what it knows of itself: it may copy itself or its
libraries (`/proc/self/exe`), or write down for which machine it was compiled. So looked for are

- programs, libraries and object files of this machine, also as members of `ar` archives;
- its triplet (`x86_64-linux-gnu` and its like) in the names of files, in links, and in texts;
- programs that begin like one with a twin and differ behind that: the kernel would run the twin in their place.

Much of that comes from outside just as well: a toolchain that is downloaded, documents of a package. What a
package brought is known by the checksums that dpkg keeps, and passes; the rest is run again for nothing, once: it
is remembered. Compressed files and archives other than `ar` aren't looked into.
"""

from __future__ import annotations

import hashlib
import io
import mmap
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from polyarch.pattern import pattern
from polyarch.progress import check_cancelled
from polyarch.record import frozen
from polyarch.worker.emulated.packages import Packages, is_database

__all__ = ["HEADER_SIZE", "Finding", "Headers", "find_native", "find_unlike"]

HEADER_SIZE = 256
"""Bytes by which the kernel tells programs apart, as far as they have so many."""
_ELF = b"\x7fELF"
_ARCHIVE = b"!<arch>\n"
_X86_64 = 62
_MACHINE = slice(18, 20)
_NATIVE = pattern(rb"\x7fELF\x02\x01.{12}\x3e\x00", re.DOTALL)
_TRIPLET = pattern(rb"x86_64-(?:pc-|alpine-|unknown-|redhat-|suse-)?linux-(?:gnu|musl)(?!x)")
_TEXT_START = 8192
_TEXT = "names this machine"


@frozen
class Finding:
    """A file, absolute in the root, and what is odd about it."""

    path: str
    what: str

    def __str__(self) -> str:
        return f"{self.path} {self.what}"


Headers = Mapping[bytes, Collection[str]]
"""The beginnings of programs that have twins, and the digests of the whole programs, in hexadecimal."""


def find_native(changes: Path, headers: Headers) -> Finding | None:
    """Return the first file in `changes`, a layer, that a foreign run would not have made.

    Files are read once, those of packages at most twice.
    """
    packages = Packages(changes)
    for path, entry in _walk(changes, ""):
        check_cancelled()
        what = _look_at(entry, headers)
        if what is _TEXT and is_database(path):
            continue
        if what and not _is_brought(packages, path, entry):
            return Finding(path=path, what=what)
    return None


def _is_brought(packages: Packages, path: str, entry: os.DirEntry[str]) -> bool:
    if entry.is_file(follow_symlinks=False):
        return packages.brought(path, Path(entry.path))
    return packages.name(path)


def _look_at(entry: os.DirEntry[str], headers: Headers) -> str:
    """Say what is odd about an entry of a layer, "" if nothing is."""
    if entry.is_file(follow_symlinks=False) and (what := _look(Path(entry.path), headers)):
        return what
    if _TRIPLET.search(os.fsencode(entry.name)):
        return "is named after this machine"
    if entry.is_symlink() and _TRIPLET.search(os.fsencode(os.readlink(entry.path))):
        return "leads to files of this machine"
    return ""


def find_unlike(layer: Path, headers: Headers) -> str:
    """Return the path of a program in a layer that begins like one that has a twin, but isn't it; "" for none."""
    for path, entry in _walk(layer, ""):
        check_cancelled()
        if (
            entry.is_file(follow_symlinks=False)
            and entry.stat(follow_symlinks=False).st_mode & 0o111
        ):
            with open(entry.path, "rb") as file:
                start = file.read(HEADER_SIZE)
            if start.startswith(_ELF) and _is_unlike(Path(entry.path), start, headers):
                return path
    return ""


def _walk(directory: Path, above: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """Give all entries below a directory, with their paths in the root; links aren't followed."""
    with os.scandir(directory) as entries:
        listed = sorted(entries, key=lambda entry: entry.name)
    for entry in listed:
        path = f"{above}/{entry.name}"
        yield path, entry
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path), path)


def _look(path: Path, headers: Headers) -> str:
    """Say what is odd about a regular file, "" if nothing is."""
    with open(path, "rb") as file:
        start = file.read(_TEXT_START)
        if start.startswith(_ELF):
            if int.from_bytes(start[_MACHINE], "little") == _X86_64:
                return "is a program or a library of this machine"
            unlike = _is_unlike(path, start[:HEADER_SIZE], headers)
            return "begins like a program that has a native twin, but isn't it" if unlike else ""
        if start.startswith(_ARCHIVE):
            return "has code of this machine in it" if _contains(file, _NATIVE) else ""
        if start and b"\0" not in start:
            return _TEXT if _contains(file, _TRIPLET) else ""
    return ""


def _contains(file: io.BufferedReader, what: re.Pattern[bytes]) -> bool:
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        # Most files have none of it, and to find that out costs a tenth of what the expression does.
        if what is _TRIPLET and content.find(b"x86_64-") < 0:
            return False
        return what.search(content) is not None


def _is_unlike(path: Path, start: bytes, headers: Headers) -> bool:
    digests = headers.get(start)
    if digests is None:
        return False
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() not in digests
