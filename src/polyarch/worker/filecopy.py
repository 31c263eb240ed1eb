"""Copying one file into a directory: anything that isn't a directory itself.

The bytes go the shortest way that there is: a small file of a context from memory, a large one inside the kernel, where
the file system shares its extents, and several of them side by side; a large file of another stage isn't copied where it can
be referred to (`polyarch.snapshot.references`).
"""

from __future__ import annotations

import os
import stat
from functools import partial
from pathlib import Path

from polyarch.errors import InputError
from polyarch.inroot import get_node, get_owner, make_node, set_owner
from polyarch.look import Status
from polyarch.progress import cancellable, check_cancelled, current_token
from polyarch.record import field, frozen, mutable
from polyarch.snapshot.references import Referrer
from polyarch.text.filemode import FileMode
from polyarch.threads import side_by_side
from polyarch.worker.attributes import NO_SPACE, attributes_of, copy_attributes
from polyarch.worker.steady import SteadyDirectory, check_unchanged
from polyarch.worker.tree import SMALL_FILE, PlainDirectory, SourceTree
from polyarch.worker.users import Owner
from polyarch.worker.walk import Selected

__all__ = ["FileCopier", "TargetDirectory"]

_SECOND = 1_000_000_000
_COPY_CHUNK = 1 << 26
_LARGE_FILE = 1 << 22
"""Bytes from which on a file is worth a thread."""
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


@mutable
class TargetDirectory:
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


@frozen
class _Copying:
    """A large file of a context that was opened, and made anew, and is still to be copied."""

    reader: int
    writer: int
    found: Selected
    owner_of_new: tuple[int, int]

    def close(self) -> None:
        os.close(self.reader)
        os.close(self.writer)


@mutable
class FileCopier:
    """Copies files of one tree into the tree at `root`.

    `owner` and `mode` are those of the flags, None for the source's own; `dated` is the time of all that is copied, in
    seconds since the epoch, None for each file's own. `referrer` lets large files of snapshots refer to their sources.
    `large` gathers the paths in the tree at which large files of snapshots were put, in their order. With `replaces`
    whatever is in the way goes, of any kind.
    """

    source: SourceTree
    root: Path
    owner: Owner | None = None
    mode: FileMode | None = None
    dated: int | None = None
    referrer: Referrer | None = None
    large: list[str] = field(default_factory=list)
    replaces: bool = False
    links: dict[tuple[int, int], str] = field(default_factory=dict)
    """Where files with several names were put, by device and inode; other sources have names of their own."""
    _waiting: list[_Copying] = field(default_factory=list)

    def shown(self, path: Path) -> str:
        """Return a path of the tree as its users know it."""
        inside = os.path.relpath(path, self.root)
        return "/" if inside == "." else f"/{inside}"

    def clear(self, target: Path) -> None:
        """Remove the file at a path, if there is one. Raises InputError for a directory, unless it may go."""
        try:
            os.unlink(target)
        except FileNotFoundError:
            pass
        except (IsADirectoryError, PermissionError):
            if self.replaces and stat.S_ISDIR(os.lstat(target).st_mode):
                from shutil import rmtree  # noqa: PLC0415 few copies remove trees

                rmtree(target)
                return
            shown = self.shown(target)
            raise InputError(f"cannot replace to directory {shown} with file") from None

    def copy_file(self, found: Selected, directory: TargetDirectory, name: str) -> None:
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
            self.clear(target)
        if stat.S_ISLNK(kind):
            os.symlink(self.source.link(found.path, status), target)
        elif stat.S_ISSOCK(kind):
            os.close(os.open(target, _NEW, 0o600))
        else:
            make_node(target, stat.S_IFMT(kind) | 0o600, device)
        self.set_metadata(found.path, target, status)

    def _copy_regular(self, found: Selected, directory: TargetDirectory, name: str) -> None:
        status, origin = found.status, directory.source
        if status.st_size > SMALL_FILE and self.source.layers:
            self.large.append(os.path.relpath(f"{directory.path}/{name}", self.root))
        if status.st_nlink > 1:
            key, target = (status.st_dev, status.st_ino), f"{directory.path}/{name}"
            if key in self.links:
                if not directory.is_new:
                    self.clear(Path(target))
                os.link(self.links[key], target, follow_symlinks=False)
                return
            self.links[key] = target
        if isinstance(origin, SteadyDirectory) and status.st_size <= SMALL_FILE:
            self._make_small(self._small(found, origin), directory, name, status)
            return
        reader = origin.open(found.name, status)
        if self.source.is_context and status.st_size >= _LARGE_FILE:
            self._add_large(reader, found, directory, name)
            return
        try:
            self._copy_open(reader, found, directory, name)
        finally:
            os.close(reader)

    def _add_large(
        self, reader: int, found: Selected, directory: TargetDirectory, name: str
    ) -> None:
        """Have a file copied together with other large ones: those that are waiting, or come next."""
        try:
            writer = self._create(directory, name)
        except BaseException:
            os.close(reader)
            raise
        copying = _Copying(
            reader=reader, writer=writer, found=found, owner_of_new=directory.owner_of_new
        )
        self._waiting.append(copying)
        if len(self._waiting) >= (os.cpu_count() or 1):
            self.finish_large()

    def finish_large(self) -> None:
        """Copy the large files that are waiting, side by side; without an error none is left."""
        token = current_token()

        def copy(each: _Copying) -> None:
            with cancellable(token):
                found = each.found
                self._copy_bytes(each.reader, each.writer, found.path, found.status.st_size)
                self._give_all(each.reader, each.writer, found, each.owner_of_new)

        try:
            tasks = [partial(copy, each) for each in self._waiting]
            side_by_side(tasks, len(tasks), name="copy")
        finally:
            self.drop_large()

    def drop_large(self) -> None:
        """Close the large files that are waiting, as they are."""
        while self._waiting:
            self._waiting.pop().close()

    def _small(self, found: Selected, directory: SteadyDirectory) -> bytes:
        """Return the content of a small file of a context, which was mostly read a moment ago."""
        contents = self.source.contents
        data = contents.take(found.directory, found.name, found.status) if contents else None
        return directory.read(found.name, found.status) if data is None else data

    def _make_small(
        self, data: bytes, directory: TargetDirectory, name: str, status: Status
    ) -> None:
        writer = self._create(directory, name)
        try:
            _write(writer, data)
            self._give(writer, directory.owner_of_new, (0, 0), status)
            self.set_times(writer, status)
        finally:
            os.close(writer)

    def _copy_open(
        self, reader: int, found: Selected, directory: TargetDirectory, name: str
    ) -> None:
        writer = self._create(directory, name)
        try:
            if not self._refer(writer, found, f"{directory.path}/{name}"):
                self._copy_bytes(reader, writer, found.path, found.status.st_size)
            self._give_all(reader, writer, found, directory.owner_of_new)
        finally:
            os.close(writer)

    def _give_all(
        self, reader: int, writer: int, found: Selected, owner_of_new: tuple[int, int]
    ) -> None:
        """Give a file that has its bytes what else its source has."""
        status, path = found.status, found.path
        if self.source.is_context:
            check_unchanged(reader, path, status)
            self._give(writer, owner_of_new, (0, 0), status)
        else:
            # Most files have no attributes, and asking for one that isn't there costs an exception.
            attributes = attributes_of(reader)
            owner = get_owner(path, status) if attributes else (status.st_uid, status.st_gid)
            self._give(writer, owner_of_new, owner, status)
            copy_attributes(reader, writer, attributes)
        self.set_times(writer, status)

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

    def _create(self, directory: TargetDirectory, name: str) -> int:
        """Make an empty file in place of any other; return its descriptor."""
        parent = directory.open()
        try:
            return os.open(name, _NEW, 0o600, dir_fd=parent)
        except FileExistsError:
            self.clear(Path(directory.path, name))
            return os.open(name, _NEW, 0o600, dir_fd=parent)

    def _give(
        self, writer: int, owner_of_new: tuple[int, int], owner: tuple[int, int], status: Status
    ) -> None:
        """Give a file that was just made owner and mode, in the order that keeps set-id bits."""
        if self.owner is not None:
            owner = (self.owner.uid, self.owner.gid)
        if owner != owner_of_new:
            set_owner(writer, *owner, fresh=True)
        mode = stat.S_IMODE(status.st_mode)
        os.fchmod(writer, mode if self.mode is None else self.mode.of(mode, False))

    def set_metadata(self, path: str, target: Path, status: Status) -> None:
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
        self.set_times(target, status)

    def set_times(self, target: Path | int, status: Status) -> None:
        """Set the time of a file, or of an open one."""
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
