"""Copying files from one tree into another, as COPY and ADD do it.

The rules that are easy to get wrong, all of them BuildKit's:

- A source folder stands for its contents. The folder at the destination that takes them is made with
  mode 0755 (or an octal `--chmod`) and the wanted owner, never with the source's; if it was there it
  keeps mode and owner. Its time becomes the source's either way.
- Folders further down take the source's mode and owner even where they existed. Those that come only
  because something in them is wanted (`--parents`, `--exclude` with `!`) are made like their source;
  where they existed, their mode becomes the source's and nothing else changes.
- A file's owner is that of `--chown`, else the source's (0:0 for a build context).
- A link that is named is followed; a link that is met on the way is copied.
- Two names of one file stay two names of one file, within one source.
- `--exclude` is asked about what is below a source, never about the source itself.
- A socket of another stage becomes an empty file; those of contexts aren't sent.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from polyarch.errors import InputError
from polyarch.inroot import get_node, make_node, resolve, set_owner
from polyarch.text.filemode import FileMode
from polyarch.text.ignore import Matcher
from polyarch.worker.tree import Entry, Selected, SourceTree, select
from polyarch.worker.users import Owner

__all__ = ["Copier", "make_folders"]

_COPY_CHUNK = 1 << 30
_SMALL_FILE = 1 << 16
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


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

    `owner` and `mode` are those of the flags, None for the source's own. `includes` and `excludes` say
    what below a source folder is copied. `created` is the time, in seconds since the epoch, of folders
    on the way to what is wanted; None is that of their source. `made` gathers the folders that were made
    on the way to a destination, and have no source whose time would be theirs.
    """

    source: SourceTree
    root: Path
    owner: Owner | None = None
    mode: FileMode | None = None
    includes: Matcher | None = None
    excludes: Matcher | None = None
    created: int | None = None
    made: list[Path] = field(default_factory=list)
    _links: dict[tuple[int, int], str] = field(default_factory=dict)

    def copy(self, entry: Entry, destination: str, *, as_itself: bool = False) -> None:
        """Copy one source to `destination`: absolute, a folder if it ends with a slash.

        With `as_itself` a folder that is missing at the destination is made as a copy of the source,
        rather than only taking its contents. Raises InputError where a file would replace a folder or
        the reverse.
        """
        self._links.clear()
        if not entry.is_directory:
            self._copy_other(entry.path, self.place(entry.name, destination), entry.status)
            return
        self._make_parent(destination)
        target = resolve(self.root, destination)
        if os.path.lexists(target):
            if not target.is_dir():
                raise InputError(f"cannot copy to non-directory: {self._shown(target)}")
            as_itself = False
        self._make_folders(self._shown(target.parent if as_itself else target))
        if as_itself:
            os.mkdir(target, 0o755)
        self._copy_contents(entry.path, target)
        if as_itself:
            self._set_metadata(entry.path, target, entry.status)
        else:
            _set_times(target, entry.status)
        if self.made and self.made[-1] == target:
            self.made.pop()

    def place(self, name: str, destination: str) -> Path:
        """Return where a file called `name` goes, with its folder made and whatever file was there removed.

        Raises InputError if that is a folder.
        """
        self._make_parent(destination)
        target = resolve(self.root, destination)
        if target.is_dir():
            target = target / name
        self._make_folders(self._shown(target.parent))
        self._clear(target)
        return target

    def _shown(self, path: Path) -> str:
        inside = os.path.relpath(path, self.root)
        return "/" if inside == "." else f"/{inside}"

    def _make_parent(self, destination: str) -> None:
        folder = destination if destination.endswith("/") else os.path.dirname(destination)
        self._make_folders(folder or "/")

    def _make_folders(self, path: str) -> None:
        """Make the folders that lead to the destination: with the flags' owner and mode."""
        mode = 0o755 if self.mode is None else self.mode.of_new_folders
        make_folders(self.root, path, self.owner or Owner(uid=0, gid=0), mode, self.made)

    def _copy_contents(self, folder: Path, target: Path) -> None:
        # Folders get their metadata when they are complete: whatever is made in them changes their time.
        unfinished: list[tuple[Selected, Path, bool]] = []
        for found in select(self.source, folder, self.includes, self.excludes):
            while unfinished and not found.inside.startswith(f"{unfinished[-1][0].inside}/"):
                self._finish(*unfinished.pop())
            copied = target / found.inside
            if stat.S_ISDIR(found.status.st_mode):
                unfinished.append((found, copied, self._make_folder(copied)))
                continue
            self._clear(copied)
            self._copy_other(found.path, copied, found.status)
        while unfinished:
            self._finish(*unfinished.pop())

    def _make_folder(self, target: Path) -> bool:
        """Make a folder below the destination; return whether it is new."""
        try:
            os.mkdir(target, 0o755)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(target).st_mode):
                raise InputError(f"cannot copy to non-directory: {self._shown(target)}") from None
            return False
        return True

    def _finish(self, found: Selected, target: Path, is_new: bool) -> None:
        if not (found.is_wanted or is_new):
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
            shown = self._shown(target)
            raise InputError(f"cannot replace to directory {shown} with file") from None

    def _copy_other(self, path: Path, target: Path, status: os.stat_result) -> None:
        """Copy anything but a folder to `target`, where nothing is."""
        kind = status.st_mode
        if stat.S_ISLNK(kind):
            os.symlink(os.readlink(path), target)
        elif stat.S_ISREG(kind):
            kind, device = (kind, 0) if self.source.is_context else get_node(path, status)
            if stat.S_ISREG(kind):
                self._copy_regular(path, target, status)
                return
            make_node(target, stat.S_IFMT(kind) | 0o600, device)
        elif stat.S_ISSOCK(kind):
            os.close(os.open(target, _NEW, 0o600))
        else:
            make_node(target, stat.S_IFMT(kind) | 0o600, status.st_rdev)
        self._set_metadata(path, target, status)

    def _copy_regular(self, path: Path, target: Path, status: os.stat_result) -> None:
        key = (status.st_dev, status.st_ino)
        if status.st_nlink > 1 and key in self._links:
            os.link(self._links[key], target, follow_symlinks=False)
            return
        _copy_file(path, target, status.st_size)
        self._set_metadata(path, target, status)
        if status.st_nlink > 1:
            self._links[key] = str(target)

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
                mode = self.mode.of(mode, stat.S_ISDIR(status.st_mode))
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
        writer = os.open(target, _NEW, 0o600)
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
        while data:
            data = data[os.write(writer, data) :]


def _copy_large(reader: int, writer: int) -> None:
    try:
        while os.copy_file_range(reader, writer, _COPY_CHUNK):
            pass
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise
        # Other file systems, or a kernel that refuses: an ordinary copy from where it stopped.
        while os.sendfile(writer, reader, None, _COPY_CHUNK):
            pass


_NO_SPACE = (28, 122)  # ENOSPC, EDQUOT


def _copy_xattrs(path: Path, target: Path) -> None:
    """Copy the extended attributes that belong to the file, not to this machine's policy.

    Where a file system has none, or refuses one, the rest is left out, as BuildKit does.
    """
    try:
        for name in os.listxattr(path, follow_symlinks=False):
            if name.startswith(("user.overlay.", "trusted.", "system.", "user.polyarch.")):
                continue
            if name.startswith("security.") and name != "security.capability":
                continue
            value = os.getxattr(path, name, follow_symlinks=False)
            os.setxattr(target, name, value, follow_symlinks=False)
    except OSError as error:
        if error.errno in _NO_SPACE:
            raise
