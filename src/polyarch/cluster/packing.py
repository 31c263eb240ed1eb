"""Directories as archives: what of a build context a build may see, the same bytes for the same files."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from hashlib import sha256 as sha256_hash
from pathlib import Path, PurePosixPath

from polyarch.buildkit.files import entries, entry_at, unix_mode
from polyarch.buildkit.messages import Stat
from polyarch.errors import InputError
from polyarch.inroot import open_regular
from polyarch.layer.apply import extract
from polyarch.layer.tar import DIRECTORY, FIFO, FILE, SYMLINK, Entry, Sink, TarWriter
from polyarch.layer.tarread import Source
from polyarch.progress import check_cancelled
from polyarch.record import frozen

__all__ = ["Archive", "archive_of", "unpack"]

_KINDS = {stat.S_IFREG: FILE, stat.S_IFDIR: DIRECTORY, stat.S_IFLNK: SYMLINK, stat.S_IFIFO: FIFO}


@frozen
class Archive:
    """A directory to be packed, and what of it: `listed`, parents first."""

    root: Path
    listed: tuple[Stat, ...]

    @property
    def size(self) -> int:
        """About how many bytes it has."""
        return sum(each.size + 1024 for each in self.listed)

    @property
    def fingerprint(self) -> str:
        """What tells it from others, without reading its files: names, sizes and times."""
        told = sha256_hash(os.fsencode(self.root))
        for each in self.listed:
            told.update(each.to_bytes())
        return told.hexdigest()

    def write(self, sink: Sink) -> None:
        """Write the archive, uncompressed. Raises InputError for a file that has gone, StoreError for one that shrank."""
        writer = TarWriter(sink)
        for each in self.listed:
            check_cancelled()
            entry = _entry(each)
            if entry is None:
                continue
            if entry.kind != FILE:
                writer.add(entry)
                continue
            try:
                file = open_regular(each.path, root=self.root)
            except OSError as error:
                raise InputError(
                    f"can't read {each.path} of {self.root}: {error.strerror}"
                ) from error
            try:
                writer.add_file(entry, file)
            finally:
                os.close(file)
        writer.end()


def archive_of(root: Path, ignored: Sequence[str] = (), needed: Sequence[str] = ()) -> Archive:
    """List what of a directory is to be packed: all but what the patterns `ignored` match, and the files `needed`.

    The latter are paths below the directory; those that aren't there are left out. Raises InputError.
    """
    try:
        listed = {each.path: each for each in entries(root, excludes=ignored)}
        for path in needed:
            if os.path.lexists(root / path):
                for each in (*reversed(PurePosixPath(path).parents[:-1]), PurePosixPath(path)):
                    status = os.lstat(root / each)
                    listed.setdefault(str(each), entry_at(root, str(each), status))
    except OSError as error:
        raise InputError(f"can't read {error.filename}: {error.strerror}") from error
    order = sorted(listed.values(), key=lambda each: PurePosixPath(each.path).parts)
    return Archive(root=root, listed=tuple(order))


def _entry(found: Stat) -> Entry | None:
    """Return what stands for a file in an archive; None for what can't be in one."""
    mode = unix_mode(found.mode)
    kind = _KINDS.get(stat.S_IFMT(mode))
    if kind is None:
        return None
    return Entry(
        name=found.path,
        kind=kind,
        mode=stat.S_IMODE(mode),
        size=found.size if kind == FILE else 0,
        mtime_ns=found.mtime,
        link=found.link if kind == SYMLINK else "",
    )


def unpack(source: Source, directory: Path) -> None:
    """Unpack an archive into a directory; all becomes this user's. Raises InvalidLayer, StoreError."""
    extract(source, directory, "/", owner=(os.geteuid(), os.getegid()))
