"""The programs of an image, without unpacking it: enough of each to tell what starts, on which platform, and what is missing.

Layers are read one after another, base first. Of regular files the beginning is kept, where programs say for which
machine they are; the rest are holes. What the layers come to is written into a directory, in which nothing leads anywhere: each
name is a directory, a link or a file by the last layer that has it, and what lies below anything but a directory is left out.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from polyarch.emulation.program import Surroundings, find_trouble
from polyarch.layer.tar import DIRECTORY, FILE, HARD_LINK, SYMLINK, Entry
from polyarch.layer.tarread import TarReader
from polyarch.oci.base import DEFAULT_PATH
from polyarch.oci.config import RunConfig
from polyarch.platforms import Platform
from polyarch.record import frozen

__all__ = ["ProgramFiles"]

_WHITEOUT = ".wh."
_OPAQUE = ".wh..wh..opq"
_START = 1 << 16
"""Bytes that are kept of a program: its headers, and the name of its loader."""


@frozen
class _File:
    """What a layer has at a name; `start` is the file that has its beginning, for regular files."""

    kind: str
    link: str = ""
    size: int = 0
    start: Path | None = None
    mode: int = 0


class ProgramFiles:
    """The files of one image; `scratch` is a fresh directory that the caller removes."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._files: dict[str, _File] = {}
        self._number = 0

    def add(self, layer: TarReader) -> None:
        """Put a layer upon those that were added. Raises InvalidLayer."""
        (self._scratch / "starts").mkdir(parents=True, exist_ok=True)
        new: dict[str, _File] = {}
        hidden: list[str] = []
        for entry in layer:
            name = _name(entry.name)
            if name is None:
                continue
            base = name.rpartition("/")[2]
            parent = name[: -len(base)]
            if base == _OPAQUE:
                hidden.append(parent)
            elif base.startswith(_WHITEOUT):
                hidden += [
                    f"{parent}{base.removeprefix(_WHITEOUT)}",
                    f"{parent}{base.removeprefix(_WHITEOUT)}/",
                ]
            else:
                found = self._file(entry, layer, new)
                if found is not None:
                    new[name] = found
        self._hide(hidden, new)
        self._files |= new

    def _hide(self, hidden: list[str], new: dict[str, _File]) -> None:
        covered = [
            f"{name}/"
            for name, each in new.items()
            if each.kind != DIRECTORY and name in self._files
        ]
        below = tuple(each for each in (*hidden, *covered) if each.endswith("/") or not each)
        names = set(hidden)
        self._files = {
            name: each
            for name, each in self._files.items()
            if name not in names and not name.startswith(below)
        }

    def _file(self, entry: Entry, layer: TarReader, new: dict[str, _File]) -> _File | None:
        if entry.kind == HARD_LINK:
            target = _name(entry.link)
            return new.get(target or "") or self._files.get(target or "")
        if entry.kind != FILE:
            return _File(kind=entry.kind, link=entry.link)
        if not entry.mode & 0o111:
            return _File(kind=FILE, size=entry.size, mode=entry.mode)
        self._number += 1
        path = self._scratch / "starts" / str(self._number)
        with path.open("wb") as file:
            left = _START
            for chunk in layer.content():
                file.write(chunk[:left])
                left -= len(chunk[:left])
                if not left:
                    break
        return _File(kind=FILE, size=entry.size, start=path, mode=entry.mode)

    def trouble(self, config: RunConfig, platform: Platform) -> str:
        """Return why the program that the image starts doesn't start on its platform; "" if nothing speaks against it."""
        argv = config.entrypoint or config.cmd
        if not argv or not self._files:
            return ""
        root = self._scratch / "root"
        self._write(root)
        path = next((each[5:] for each in config.env if each.startswith("PATH=")), DEFAULT_PATH)
        where = Surroundings(root=root, platform=platform, cwd=config.working_dir or "/", path=path)
        found = find_trouble(argv[0], where)
        return f"{argv[0]!r} doesn't start on {platform}: {found.text}" if found is not None else ""

    def _write(self, root: Path) -> None:
        root.mkdir(parents=True)
        made = {""}
        for name in sorted(self._files, key=lambda each: (each.count("/"), each)):
            each, path = self._files[name], root / name
            # What no file system here can have isn't what the image starts.
            with suppress(OSError, ValueError):
                if each.kind == DIRECTORY:
                    self._make(name, root, made)
                elif not self._make(name.rpartition("/")[0], root, made):
                    continue
                elif each.kind == SYMLINK and each.link:
                    path.symlink_to(each.link)
                elif each.kind == FILE:
                    _plant(path, each)

    def _make(self, name: str, root: Path, made: set[str]) -> bool:
        """Make a directory with those above it; tell whether it is one."""
        if name in made:
            return True
        known = self._files.get(name)
        if known is not None and known.kind != DIRECTORY:
            return False
        if not self._make(name.rpartition("/")[0], root, made):
            return False
        (root / name).mkdir()
        made.add(name)
        return True


def _plant(path: Path, file: _File) -> None:
    if file.start is not None:
        path.write_bytes(file.start.read_bytes())
        os.truncate(path, max(file.size, 0))
    else:
        path.touch()
    path.chmod(0o755 if file.mode & 0o111 else 0o644)


def _name(text: str) -> str | None:
    """Return a relative name without steps; None for one that would lead out, is the root, or can't be a name."""
    parts = [part for part in text.split("/") if part not in {"", "."}]
    if not parts or ".." in parts or "\0" in text:
        return None
    return "/".join(parts)
