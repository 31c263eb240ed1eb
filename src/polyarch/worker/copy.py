"""Copying files from one tree into another, as COPY and ADD do it.

The rules that are easy to get wrong, all of them BuildKit's:

- A source folder stands for its contents. The folder at the destination that takes them is made with
  mode 0755 and the wanted owner, never with the source's; if it was there it keeps mode and owner.
  Its time becomes the source's either way.
- Folders further down take the source's mode and owner even where they existed.
- A file's owner is that of `--chown`, else the source's (0:0 for a build context).
- A link that is named is followed; a link that is met on the way is copied.
- Two names of one file stay two names of one file, within one source.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from polyarch.errors import InputError, StoreError
from polyarch.inroot import resolve, set_owner
from polyarch.worker.filemode import ModeChange
from polyarch.worker.tree import Entry, SourceTree
from polyarch.worker.users import Owner

__all__ = ["Copier", "make_folders"]

_COPY_CHUNK = 1 << 30
_SMALL_FILE = 1 << 16


def make_folders(
    root: Path, path: str, owner: Owner, mode: int = 0o755, made: list[Path] | None = None
) -> Path:
    """Make the folder at `path` (absolute, inside `root`) and its missing parents; return where it is.

    Symbolic links on the way are followed inside the root. Folders that exist are left as they are;
    those that are made are added to `made`, parents first. Raises InputError if something on the way is
    no folder.
    """
    real = resolve(root, path)
    missing: list[Path] = []
    current = real
    while current != root and not os.path.lexists(current):
        missing.append(current)
        current = current.parent
    if not current.is_dir():
        raise InputError(
            f"cannot make the folder {path}: /{os.path.relpath(current, root)} is no folder"
        )
    for folder in reversed(missing):
        os.mkdir(folder, mode)
        set_owner(folder, owner.uid, owner.gid)
        os.chmod(folder, mode)
    if made is not None:
        made += reversed(missing)
    return real


@dataclass(slots=True)
class Copier:
    """Copies sources of one tree into the tree at `root`.

    `owner` and `mode` are those of the flags, None for the source's own. `excludes` says of a path
    relative to the source's root whether `--exclude` leaves it out. `made` gathers the folders that
    were made on the way to a destination, and have no source whose time would be theirs.
    """

    source: SourceTree
    root: Path
    owner: Owner | None = None
    mode: ModeChange | None = None
    excludes: Callable[[str], bool] | None = None
    made: list[Path] = field(default_factory=list)
    _links: dict[tuple[int, int], str] = field(default_factory=dict)

    def copy(self, entry: Entry, destination: str) -> None:
        """Copy one source to `destination`: absolute, a folder if it ends with a slash.

        Raises InputError where a file would replace a folder or the reverse.
        """
        self._links.clear()
        folder = destination if destination.endswith("/") else os.path.dirname(destination)
        self._make_folders(folder or "/")
        target = resolve(self.root, destination)
        if not entry.is_directory:
            if target.is_dir():
                target = target / entry.name
            self._make_folders("/" + os.path.relpath(target.parent, self.root))
            self._copy_other(entry.path, target, entry.status)
            return
        if os.path.lexists(target) and not target.is_dir():
            shown = "/" + os.path.relpath(target, self.root)
            raise InputError(f"cannot copy to non-directory: {shown}")
        self._make_folders("/" + os.path.relpath(target, self.root))
        self._copy_contents(entry.path, target, "")
        _set_times(target, entry.status)
        if self.made and self.made[-1] == target:
            self.made.pop()

    def _make_folders(self, path: str) -> Path:
        """Make the folders that lead to the destination: with the flags' owner and mode."""
        mode = 0o755 if self.mode is None else self.mode(0o755, True)
        return make_folders(self.root, path, self.owner or Owner(uid=0, gid=0), mode, self.made)

    def copy_below(self, entries: Iterable[Entry], destination: str) -> None:
        """Copy the matches of `--parents`, each to its own path below `destination`.

        Folders on the way are made as the source has them, times included, and the destination takes the
        time of the folder that the paths start from. A folder that matches is made; its contents are
        matches of their own.
        """
        self._links.clear()
        base = self._make_folders(destination)
        made: dict[str, os.stat_result] = {}
        starts: dict[str, os.stat_result] = {}
        for entry in entries:
            if self.excludes is not None and self.excludes(entry.name):
                continue
            source = Path(str(entry.path)[: -len(entry.name)])
            starts[str(base)] = source.stat()
            parts = entry.name.split("/")
            for number in range(1, len(parts) + int(entry.is_directory)):
                inside = "/".join(parts[:number])
                self._make_like(source / inside, base / inside, made)
            if not entry.is_directory:
                self._copy_other(entry.path, base / entry.name, entry.status)
        for target, status in (*reversed(made.items()), *starts.items()):
            _set_times(Path(target), status)
        if starts and self.made and self.made[-1] == base:
            self.made.pop()

    def _make_like(self, folder: Path, target: Path, made: dict[str, os.stat_result]) -> None:
        """Make a folder with the metadata of another, unless this copy has made it already."""
        if str(target) in made:
            return
        status = made[str(target)] = os.lstat(folder)
        with suppress(FileExistsError):
            os.mkdir(target, 0o755)
        self._set_metadata(folder, target, status)

    def _copy_contents(self, folder: Path, target: Path, inside: str) -> None:
        for item in self.source.entries(folder):
            path = inside + item.name
            is_folder = item.is_dir(follow_symlinks=False)
            if self.excludes is not None and self.excludes(path):
                # BuildKit still walks into an excluded folder when a later pattern may keep some of it;
                # `excludes` answers for every path by itself, so only files are decided here.
                if not is_folder:
                    continue
                self._copy_excluded(folder / item.name, target / item.name, path)
                continue
            status = item.stat(follow_symlinks=False)
            if is_folder:
                self._copy_folder(folder / item.name, target / item.name, path, status)
            else:
                self._copy_other(folder / item.name, target / item.name, status)

    def _copy_excluded(self, folder: Path, target: Path, inside: str) -> None:
        """Look for what is kept below an excluded folder; the folder itself comes with it only then."""
        if any(True for _ in self._kept_below(folder, inside)):
            self._copy_folder(folder, target, inside, os.lstat(folder))

    def _kept_below(self, folder: Path, inside: str) -> list[str]:
        assert self.excludes is not None
        kept = []
        for item in self.source.entries(folder):
            path = f"{inside}/{item.name}"
            if not self.excludes(path):
                kept.append(path)
            elif item.is_dir(follow_symlinks=False):
                kept += self._kept_below(folder / item.name, path)
        return kept

    def _copy_folder(self, folder: Path, target: Path, inside: str, status: os.stat_result) -> None:
        try:
            os.mkdir(target, 0o755)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(target).st_mode):
                shown = "/" + os.path.relpath(target, self.root)
                raise InputError(f"cannot copy to non-directory: {shown}") from None
        self._copy_contents(folder, target, inside + "/")
        self._set_metadata(folder, target, status)

    def _copy_other(self, path: Path, target: Path, status: os.stat_result) -> None:
        """Copy anything but a folder over whatever file is at `target`."""
        if stat.S_ISSOCK(status.st_mode):
            return
        self._clear(target)
        key = (status.st_dev, status.st_ino)
        if status.st_nlink > 1 and key in self._links:
            os.link(self._links[key], target, follow_symlinks=False)
            return
        if stat.S_ISREG(status.st_mode):
            _copy_file(path, target, status.st_size)
        elif stat.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(path), target)
        else:
            _make_node(path, target, status)
        self._set_metadata(path, target, status)
        if status.st_nlink > 1:
            self._links[key] = str(target)

    def _clear(self, target: Path) -> None:
        try:
            os.unlink(target)
        except FileNotFoundError:
            pass
        except (IsADirectoryError, PermissionError):
            shown = "/" + os.path.relpath(target, self.root)
            raise InputError(f"cannot replace to directory {shown} with file") from None

    def _set_metadata(self, path: Path, target: Path, status: os.stat_result) -> None:
        """Set owner, mode, extended attributes and times, in the order that keeps set-id bits."""
        if self.owner is not None:
            uid, gid = self.owner.uid, self.owner.gid
        else:
            uid, gid = self.source.owner(str(path), status)
        set_owner(target, uid, gid)
        if not stat.S_ISLNK(status.st_mode):
            mode = stat.S_IMODE(status.st_mode)
            if self.mode is not None:
                mode = self.mode(mode, stat.S_ISDIR(status.st_mode))
            os.chmod(target, mode)
        if not self.source.is_context:
            _copy_xattrs(path, target)
        _set_times(target, status)


def _set_times(target: Path, status: os.stat_result) -> None:
    os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns), follow_symlinks=False)


def _copy_file(path: Path, target: Path, size: int) -> None:
    """Copy a file's bytes inside the kernel: shared extents where the file system has them."""
    reader = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        writer = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            if size <= _SMALL_FILE:
                _copy_small(reader, writer)
            else:
                _copy_large(reader, writer)
        finally:
            os.close(writer)
    finally:
        os.close(reader)


def _copy_small(reader: int, writer: int) -> None:
    while data := os.read(reader, _SMALL_FILE * 2):
        os.write(writer, data)


def _copy_large(reader: int, writer: int) -> None:
    try:
        while os.copy_file_range(reader, writer, _COPY_CHUNK):
            pass
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise StoreError(f"cannot write the copy: {error.strerror}") from error
        # Other file systems, or a kernel that refuses: an ordinary copy from where it stopped.
        while os.sendfile(writer, reader, None, _COPY_CHUNK):
            pass


_NO_SPACE = (28, 122)  # ENOSPC, EDQUOT


def _make_node(path: Path, target: Path, status: os.stat_result) -> None:
    if not (
        stat.S_ISFIFO(status.st_mode)
        or stat.S_ISCHR(status.st_mode)
        or stat.S_ISBLK(status.st_mode)
    ):
        raise InputError(f"{path} is neither a file, a folder, a link nor a device")
    os.mknod(target, stat.S_IFMT(status.st_mode) | 0o600, status.st_rdev)


def _copy_xattrs(path: Path, target: Path) -> None:
    """Copy the extended attributes that belong to the file, not to this machine's policy."""
    for name in os.listxattr(path, follow_symlinks=False):
        if name.startswith(("user.overlay.", "trusted.", "system.", "user.polyarch.")):
            continue
        if name.startswith("security.") and name != "security.capability":
            continue
        value = os.getxattr(path, name, follow_symlinks=False)
        os.setxattr(target, name, value, follow_symlinks=False)
