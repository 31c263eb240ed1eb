"""Copying files from one tree into another, as COPY and ADD do it.

The rules that are easy to get wrong, all of them BuildKit's:

- A source directory stands for its contents. The directory at the destination that takes them is made with
  mode 0755 (or an octal `--chmod`) and the wanted owner, never with the source's; if it was there it
  keeps mode and owner. Its time becomes the source's either way.
- Directories further down take the source's mode and owner even where they existed. Those that come only
  because something in them is wanted (`--parents`, `--exclude` with `!`) are made like their source;
  where they existed, their mode becomes the source's and nothing else changes.
- A file's owner is that of `--chown`, else the source's (0:0 for a build context).
- A link that is named is followed; a link that is met on the way is copied.
- Two names of one file stay two names of one file, within one source.
- `--exclude` is asked about what is below a source, never about the source itself.
- A socket of another stage becomes an empty file; those of contexts aren't sent.

A large file of another stage isn't copied where it can be referred to (`polyarch.snapshot.references`).
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from polyarch.errors import InputError
from polyarch.inroot import get_node, get_owner, make_node, resolve, set_owner
from polyarch.look import Status
from polyarch.progress import check_cancelled
from polyarch.record import field, mutable
from polyarch.snapshot.references import Referrer
from polyarch.text.filemode import FileMode
from polyarch.text.ignore import Matcher
from polyarch.worker.attributes import NO_SPACE, attributes_of, copy_attributes
from polyarch.worker.listing import Listing
from polyarch.worker.steady import SteadyDirectory, check_unchanged
from polyarch.worker.tree import SMALL_FILE, Entry, PlainDirectory, SourceTree
from polyarch.worker.users import Owner, owner_of_new
from polyarch.worker.walk import Selected, select

__all__ = ["Copier", "Ledger", "make_directories"]

_SECOND = 1_000_000_000
_COPY_CHUNK = 1 << 26
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def make_directories(
    root: Path, path: str, owner: Owner | None, mode: int = 0o755, made: list[Path] | None = None
) -> Path:
    """Make the directory at `path` (absolute, inside `root`) and its missing parents; return where it is.

    Symbolic links on the way are followed inside the root. Directories that exist are left as they are;
    those that are made are added to `made`, parents first. In one with the setgid bit they have that bit, too, and its
    group, if no owner is wanted. Raises InputError if something on the way is
    no directory.
    """
    real = resolve(root, path)
    missing: list[Path] = []
    current = real
    while current != root and not os.path.lexists(current):
        missing.append(current)
        current = current.parent
    if not current.is_dir():
        raise InputError(
            f"cannot make the directory {path}: /{os.path.relpath(current, root)} is no directory"
        )
    for directory in reversed(missing):
        os.mkdir(directory, mode)
        who = owner or owner_of_new(directory.parent)
        set_owner(directory, who.uid, who.gid)
        os.chmod(directory, mode | os.stat(directory.parent).st_mode & stat.S_ISGID)
    if made is not None:
        made += reversed(missing)
    return real


class Ledger(Protocol):
    """Knows what an earlier copy has made, and hears what this one wants."""

    def has(self, target: str, found: Selected, /) -> bool:
        """Return whether what is below the directory `target` for `found` is as it should be.

        `target` is a path inside the tree that is copied into; the root is "".
        """

    def has_files(self, target: str, directory: str, listing: Listing, /) -> bool:
        """Return whether all that isn't a directory in the directory `target` is as it should be.

        `directory` is the one of the context that goes there, of which `listing` has all; that is copied whole.
        """


@mutable
class _Directory:
    """A directory that files are copied into, out of `source`. `found` is that, None for the destination itself.

    `prefix` is what the paths of its contents begin with, below the destination. It is opened when the
    first file comes: paths are long, and the kernel would resolve each anew.
    """

    path: str
    source: SteadyDirectory | PlainDirectory
    prefix: str = ""
    found: Selected | None = None
    is_new: bool = False
    is_kept: bool = False
    """Whether the last copy left it as it should be; a file that is made in it changes its time."""
    owner_of_new: tuple[int, int] = (-1, -1)
    """Who owns a file that is made in it; known once it is open."""
    _descriptor: int = -1

    def open(self) -> int:
        """Return its descriptor."""
        if self._descriptor < 0:
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            status = os.fstat(self._descriptor)
            group = status.st_gid if status.st_mode & stat.S_ISGID else os.getegid()
            self.owner_of_new = (os.geteuid(), group)
        return self._descriptor

    def close(self) -> None:
        """Close it, and its source; may be repeated."""
        self.source.close()
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@mutable
class Copier:
    """Copies sources of one tree into the tree at `root`.

    `owner` and `mode` are those of the flags, None for the source's own. `includes` and `excludes` say
    what below a source directory is copied. `created` is the time, in seconds since the epoch, of directories
    on the way to what is wanted; None is that of their source. `dated` is that of all that is copied. `made` gathers the directories that were made
    on the way to a destination, and have no source whose time would be theirs. `ledger` knows what is
    there already as it should be, of an earlier copy. `referrer` lets large files of snapshots refer to
    their sources. `large` gathers the paths in the tree at which
    large files of snapshots were put, in their order. With `replaces` whatever is in the way goes, of any kind.
    """

    source: SourceTree
    root: Path
    owner: Owner | None = None
    mode: FileMode | None = None
    includes: Matcher | None = None
    excludes: Matcher | None = None
    created: int | None = None
    dated: int | None = None
    made: list[Path] = field(default_factory=list)
    ledger: Ledger | None = None
    referrer: Referrer | None = None
    large: list[str] = field(default_factory=list)
    replaces: bool = False
    _links: dict[tuple[int, int], str] = field(default_factory=dict)

    def copy(self, entry: Entry, destination: str, *, as_itself: bool = False) -> None:
        """Copy one source to `destination`: absolute, a directory if it ends with a slash.

        With `as_itself` a directory that is missing at the destination is made as a copy of the source,
        rather than only taking its contents; where there is one it goes into that, by its name. Raises
        InputError where a file would replace a directory or the reverse.
        """
        self._links.clear()
        if not entry.is_directory:
            target = self.place(entry.name, destination)
            where = str(entry.path.parent)
            directory = _Directory(path=str(target.parent), source=self.source.directory(where))
            found = Selected(where, "", entry.path.name, entry.status)
            try:
                self._copy_other(found, directory, target.name)
            finally:
                directory.close()
            return
        self._make_parent(destination)
        target = resolve(self.root, destination)
        if as_itself and entry.name and target.is_dir():
            target /= entry.name
        if os.path.lexists(target):
            if target.is_symlink() or not target.is_dir():
                self._make_way(target)
            else:
                as_itself = False
        self._make_directories(self._shown(target.parent if as_itself else target))
        if as_itself:
            os.mkdir(target, 0o755)
        self._copy_contents(entry.path, target)
        if as_itself:
            self._set_metadata(str(entry.path), target, entry.status)
        else:
            self._set_times(target, entry.status)
        if self.made and self.made[-1] == target:
            self.made.pop()

    def place(self, name: str, destination: str) -> Path:
        """Return where a file called `name` goes, with its directory made and whatever file was there removed.

        Raises InputError if that is a directory.
        """
        self._make_parent(destination)
        target = resolve(self.root, destination)
        if target.is_dir():
            target = target / name
        self._make_directories(self._shown(target.parent))
        self._clear(target)
        return target

    def _shown(self, path: Path) -> str:
        inside = os.path.relpath(path, self.root)
        return "/" if inside == "." else f"/{inside}"

    def _make_parent(self, destination: str) -> None:
        directory = destination if destination.endswith("/") else os.path.dirname(destination)
        self._make_directories(directory or "/")

    def _make_directories(self, path: str) -> None:
        """Make the directories that lead to the destination: with the flags' owner and mode."""
        mode = 0o755 if self.mode is None else self.mode.of_new_directories
        make_directories(self.root, path, self.owner, mode, self.made)

    def _copy_contents(self, directory: Path, target: Path) -> None:
        # Directories get their metadata when they are complete: whatever is made in them changes their time.
        unfinished = [_Directory(path=str(target), source=self.source.directory(str(directory)))]
        inside = self._shown(target).rstrip("/")
        try:
            for found in self._selected(directory, inside):
                while found.prefix != unfinished[-1].prefix:
                    self._finish(unfinished.pop())
                is_kept = self.ledger is not None and self.ledger.has(inside, found)
                if stat.S_ISDIR(found.status.st_mode):
                    unfinished.append(self._start(found, target, is_kept))
                elif not is_kept:
                    unfinished[-1].is_kept = False
                    self._copy_other(found, unfinished[-1], found.name)
            while len(unfinished) > 1:
                self._finish(unfinished.pop())
        finally:
            for each in unfinished:
                each.close()

    def _selected(self, directory: Path, inside: str) -> Iterator[Selected]:
        """Walk a source directory that is copied to `inside`, without the files that the ledger knows to be there."""
        includes, excludes, ledger = self.includes, self.excludes, self.ledger
        if ledger is None or includes is not None or excludes is not None:
            return select(self.source, directory, includes, excludes)

        def skip(prefix: str, path: str, listing: Listing) -> bool:
            return ledger.has_files(f"{inside}/{prefix}".rstrip("/"), path, listing)

        return select(self.source, directory, skip=skip)

    def _start(self, found: Selected, target: Path, is_kept: bool) -> _Directory:
        """Make a directory below the destination, if it isn't there."""
        copied = f"{target}/{found.inside}"
        return _Directory(
            path=copied,
            source=self.source.directory(found.path),
            prefix=f"{found.inside}/",
            found=found,
            is_new=not is_kept and self._make_directory(Path(copied)),
            is_kept=is_kept,
        )

    def _make_directory(self, target: Path) -> bool:
        """Make a directory below the destination; return whether it is new."""
        try:
            os.mkdir(target, 0o755)
        except FileExistsError:
            if stat.S_ISDIR(os.lstat(target).st_mode):
                return False
            self._make_way(target)
            os.mkdir(target, 0o755)
        return True

    def _make_way(self, target: Path) -> None:
        """Remove what is where a directory is to be. Raises InputError where that isn't wanted."""
        if not self.replaces:
            raise InputError(f"cannot copy to non-directory: {self._shown(target)}") from None
        os.unlink(target)

    def _finish(self, directory: _Directory) -> None:
        directory.close()
        found, target = directory.found, Path(directory.path)
        assert found is not None
        if directory.is_kept:
            return
        if not (found.is_wanted or directory.is_new):
            os.chmod(target, stat.S_IMODE(found.status.st_mode))
            return
        self._set_metadata(found.path, target, found.status)
        if not found.is_wanted and self.created is not None:
            os.utime(target, (self.created, self.created))

    def _clear(self, target: Path) -> None:
        try:
            os.unlink(target)
        except FileNotFoundError:
            pass
        except (IsADirectoryError, PermissionError):
            if self.replaces and stat.S_ISDIR(os.lstat(target).st_mode):
                from shutil import rmtree  # noqa: PLC0415 few copies remove trees

                rmtree(target)
                return
            shown = self._shown(target)
            raise InputError(f"cannot replace to directory {shown} with file") from None

    def _copy_other(self, found: Selected, directory: _Directory, name: str) -> None:
        """Copy anything but a directory into `directory`, over the file of that name if there is one."""
        status = found.status
        kind, device = status.st_mode, status.st_rdev
        if stat.S_ISREG(kind):
            kind, device = (kind, 0) if self.source.is_context else get_node(found.path, status)
            if stat.S_ISREG(kind):
                self._copy_regular(found, directory, name)
                return
        target = Path(directory.path, name)
        if not directory.is_new:
            self._clear(target)
        if stat.S_ISLNK(kind):
            os.symlink(self.source.link(found.path, status), target)
        elif stat.S_ISSOCK(kind):
            os.close(os.open(target, _NEW, 0o600))
        else:
            make_node(target, stat.S_IFMT(kind) | 0o600, device)
        self._set_metadata(found.path, target, status)

    def _copy_regular(self, found: Selected, directory: _Directory, name: str) -> None:
        status, origin = found.status, directory.source
        if status.st_size > SMALL_FILE and self.source.layers:
            self.large.append(os.path.relpath(f"{directory.path}/{name}", self.root))
        if status.st_nlink > 1:
            key, target = (status.st_dev, status.st_ino), f"{directory.path}/{name}"
            if key in self._links:
                if not directory.is_new:
                    self._clear(Path(target))
                os.link(self._links[key], target, follow_symlinks=False)
                return
            self._links[key] = target
        if isinstance(origin, SteadyDirectory) and status.st_size <= SMALL_FILE:
            self._make_small(self._small(found, origin), directory, name, status)
            return
        reader = origin.open(found.name, status)
        try:
            self._copy_open(reader, found, directory, name)
        finally:
            os.close(reader)

    def _small(self, found: Selected, directory: SteadyDirectory) -> bytes:
        """Return the content of a small file of a context, which was mostly read a moment ago."""
        contents = self.source.contents
        data = contents.take(found.directory, found.name, found.status) if contents else None
        return directory.read(found.name, found.status) if data is None else data

    def _make_small(self, data: bytes, directory: _Directory, name: str, status: Status) -> None:
        writer = self._create(directory, name)
        try:
            _write(writer, data)
            self._give(writer, directory, (0, 0), status)
            self._set_times(writer, status)
        finally:
            os.close(writer)

    def _copy_open(self, reader: int, found: Selected, directory: _Directory, name: str) -> None:
        status, path = found.status, found.path
        writer = self._create(directory, name)
        try:
            if not self._refer(writer, found, f"{directory.path}/{name}"):
                self._copy_bytes(reader, writer, path, status.st_size)
            if self.source.is_context:
                check_unchanged(reader, path, status)
                self._give(writer, directory, (0, 0), status)
            else:
                # Most files have no attributes, and asking for one that isn't there costs an exception.
                attributes = attributes_of(reader)
                owner = get_owner(path, status) if attributes else (status.st_uid, status.st_gid)
                self._give(writer, directory, owner, status)
                copy_attributes(reader, writer, attributes)
            self._set_times(writer, status)
        finally:
            os.close(writer)

    def _refer(self, writer: int, found: Selected, target: str) -> bool:
        """Let a file that was just made refer to its source; return whether it does."""
        status = found.status
        # Names of one file stay that, which two files that refer to the same one wouldn't.
        if self.referrer is None or status.st_size <= SMALL_FILE or status.st_nlink > 1:
            return False
        origin = self.source.find_in_layer(found.path)
        inside = os.path.relpath(target, self.root)
        return origin is not None and self.referrer.refer(writer, inside, origin)

    def _copy_bytes(self, reader: int, writer: int, path: str, size: int) -> None:
        if size > SMALL_FILE:
            if not _copy_range(reader, writer):
                self._copy_across(reader, writer, path)
            return
        while data := os.read(reader, SMALL_FILE * 2):
            _write(writer, data)

    def _copy_across(self, reader: int, writer: int, path: str) -> None:
        """Copy bytes, from where `reader` is, between what the kernel takes for two file systems.

        An overlay is one of its own, though its layers are where the copy goes: so the file is looked for there.
        """
        below = self.source.open_in_layer(path)
        if below is not None:
            try:
                os.lseek(below, os.lseek(reader, 0, os.SEEK_CUR), os.SEEK_SET)
                if _copy_range(below, writer):
                    return
                os.lseek(reader, os.lseek(below, 0, os.SEEK_CUR), os.SEEK_SET)
            finally:
                os.close(below)
        while os.sendfile(writer, reader, None, _COPY_CHUNK):
            check_cancelled()

    def _create(self, directory: _Directory, name: str) -> int:
        """Make an empty file in place of any other; return its descriptor."""
        parent = directory.open()
        try:
            return os.open(name, _NEW, 0o600, dir_fd=parent)
        except FileExistsError:
            self._clear(Path(directory.path, name))
            return os.open(name, _NEW, 0o600, dir_fd=parent)

    def _give(
        self, writer: int, directory: _Directory, owner: tuple[int, int], status: Status
    ) -> None:
        """Give a file that was just made owner and mode, in the order that keeps set-id bits."""
        if self.owner is not None:
            owner = (self.owner.uid, self.owner.gid)
        if owner != directory.owner_of_new:
            set_owner(writer, *owner, fresh=True)
        mode = stat.S_IMODE(status.st_mode)
        os.fchmod(writer, mode if self.mode is None else self.mode.of(mode, False))

    def _set_metadata(self, path: str, target: Path, status: Status) -> None:
        """Set owner, mode, extended attributes and times, in the order that keeps set-id bits."""
        if self.owner is not None:
            uid, gid = self.owner.uid, self.owner.gid
        else:
            uid, gid = self.source.owner(path, status)
        set_owner(target, uid, gid)
        if not stat.S_ISLNK(status.st_mode):
            mode = stat.S_IMODE(status.st_mode)
            if self.mode is not None:
                mode = self.mode.of(mode, stat.S_ISDIR(status.st_mode))
            os.chmod(target, mode)
        if not self.source.is_context:
            copy_attributes(path, target, attributes_of(path))
        self._set_times(target, status)

    def _set_times(self, target: Path | int, status: Status) -> None:
        moment = status.st_mtime_ns if self.dated is None else self.dated * _SECOND
        os.utime(target, ns=(moment, moment), follow_symlinks=isinstance(target, int))


def _write(writer: int, data: bytes) -> None:
    while data:
        data = data[os.write(writer, data) :]


def _copy_range(reader: int, writer: int) -> bool:
    """Copy bytes inside the kernel: shared extents where the file system has them.

    Return whether all are copied: between two file systems, and on old kernels, this is refused.
    """
    try:
        while os.copy_file_range(reader, writer, _COPY_CHUNK):
            check_cancelled()
    except OSError as error:
        if error.errno in NO_SPACE:
            raise
        return False
    return True
