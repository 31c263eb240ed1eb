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
from functools import partial
from pathlib import Path

from polyarch.errors import InputError
from polyarch.inroot import get_node, make_node, resolve, set_owner
from polyarch.text.filemode import FileMode
from polyarch.text.ignore import Matcher
from polyarch.worker.copyfiles import NO_SPACE, FileCopy, Reuse, counted_xattrs
from polyarch.worker.crew import Crew
from polyarch.worker.tree import Entry, Listed, Selected, SourceTree, select
from polyarch.worker.users import Owner

__all__ = ["Copier", "make_folders"]

_BATCH = 256
"""Files of one folder that one thread copies before another may have the next."""
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
    reuse: Reuse | None = None

    def copy(self, entry: Entry, destination: str, *, as_itself: bool = False) -> None:
        """Copy one source to `destination`: absolute, a folder if it ends with a slash.

        With `as_itself` a folder that is missing at the destination is made as a copy of the source,
        rather than only taking its contents. Raises InputError where a file would replace a folder or
        the reverse.
        """
        if not entry.is_directory:
            self._copy_file(str(entry.path), str(self.place(entry.name, destination)), entry.status)
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
        self._copy_contents(str(entry.path), str(target))
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

    def _shown(self, path: Path | str) -> str:
        inside = os.path.relpath(path, self.root)
        return "/" if inside == "." else f"/{inside}"

    def _make_parent(self, destination: str) -> None:
        folder = destination if destination.endswith("/") else os.path.dirname(destination)
        self._make_folders(folder or "/")

    def _make_folders(self, path: str) -> None:
        """Make the folders that lead to the destination: with the flags' owner and mode."""
        mode = 0o755 if self.mode is None else self.mode.of_new_folders
        make_folders(self.root, path, self.owner or Owner(uid=0, gid=0), mode, self.made)

    def _files(self) -> FileCopy:
        return FileCopy(source=self.source, owner=self.owner, mode=self.mode, reuse=self.reuse)

    def _copy_contents(self, folder: str, target: str) -> None:
        top = _Folder(folder, target, is_new=not os.listdir(target))
        open_folders = [top]
        finished: list[_Folder] = []
        with Crew() as crew:
            work = _Work(self._files(), crew)
            for found in select(self.source, folder, self.includes, self.excludes):
                while not found.inside.startswith(open_folders[-1].prefix):
                    finished.append(work.flushed(open_folders.pop()))
                self._copy_found(found, f"{target}/{found.inside}", open_folders, work)
            finished += map(work.flushed, reversed(open_folders[1:]))
            work.flushed(top)
            crew.join()
        for first, other in work.links:
            os.link(first, other, follow_symlinks=False)
        # Folders get their metadata when all is copied: whatever is made in them changes their time.
        for each in finished:
            self._finish(each)

    def _copy_found(
        self, found: Selected, target: str, open_folders: list[_Folder], work: _Work
    ) -> None:
        status = found.status
        if stat.S_ISDIR(status.st_mode):
            is_new = self._make_folder(target)
            open_folders.append(_Folder(found.path, target, is_new=is_new, found=found))
            return
        if not open_folders[-1].is_new:
            self._clear(target)
        if not self._is_plain(status):
            self._copy_special(found.path, target, status)
        elif not work.is_further_name(status, target):
            work.add(open_folders[-1], Listed(os.path.basename(found.path), status))

    def _copy_file(self, path: str, target: str, status: os.stat_result) -> None:
        if self._is_plain(status):
            self._files().copy_one(path, status, target)
        else:
            self._copy_special(path, target, status)

    def _is_plain(self, status: os.stat_result) -> bool:
        """Tell whether something is a regular file; an empty one may stand for a device, but in a context."""
        return stat.S_ISREG(status.st_mode) and (self.source.is_context or status.st_size > 0)

    def _make_folder(self, target: str) -> bool:
        """Make a folder below the destination; return whether it is new."""
        try:
            os.mkdir(target, 0o755)
        except FileExistsError:
            if not stat.S_ISDIR(os.lstat(target).st_mode):
                raise InputError(f"cannot copy to non-directory: {self._shown(target)}") from None
            return False
        return True

    def _finish(self, folder: _Folder) -> None:
        found, target = folder.found, folder.target
        assert found is not None
        if not (found.is_wanted or folder.is_new):
            os.chmod(target, stat.S_IMODE(found.status.st_mode))
            return
        self._set_metadata(found.path, target, found.status)
        if not found.is_wanted and self.created is not None:
            os.utime(target, (self.created, self.created))

    def _clear(self, target: Path | str) -> None:
        try:
            os.unlink(target)
        except FileNotFoundError:
            pass
        except (IsADirectoryError, PermissionError):
            shown = self._shown(target)
            raise InputError(f"cannot replace to directory {shown} with file") from None

    def _copy_special(self, path: str, target: str, status: os.stat_result) -> None:
        """Copy anything but a folder and a plain file to `target`, where nothing is."""
        kind, device = status.st_mode, status.st_rdev
        if stat.S_ISLNK(kind):
            os.symlink(self.source.link_target(path), target)
        elif stat.S_ISSOCK(kind):
            os.close(os.open(target, _NEW, 0o600))
        else:
            if stat.S_ISREG(kind):
                kind, device = get_node(path, status)
            if stat.S_ISREG(kind):
                self._files().copy_one(path, status, target)
                return
            make_node(target, stat.S_IFMT(kind) | 0o600, device)
        self._set_metadata(path, target, status)

    def _set_metadata(self, path: str | Path, target: str | Path, status: os.stat_result) -> None:
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


@dataclass(slots=True)
class _Folder:
    """A folder that is being copied, and its plain files that aren't yet; `found` is None for the topmost."""

    path: str
    target: str
    is_new: bool
    found: Selected | None = None
    items: list[Listed] = field(default_factory=list)

    @property
    def prefix(self) -> str:
        """How the paths of what is in it begin."""
        return "" if self.found is None else f"{self.found.inside}/"


@dataclass(slots=True)
class _Work:
    """Plain files on their way to the crew, and files that have more than one name."""

    files: FileCopy
    crew: Crew
    links: list[tuple[str, str]] = field(default_factory=list)
    _first_names: dict[tuple[int, int], str] = field(default_factory=dict)

    def add(self, folder: _Folder, item: Listed) -> None:
        """Have a file of a folder copied."""
        folder.items.append(item)
        if len(folder.items) >= _BATCH:
            self.flushed(folder)

    def flushed(self, folder: _Folder) -> _Folder:
        """Have all files copied that were added to a folder; return it."""
        if folder.items:
            self.crew.do(partial(self.files.copy, folder.path, folder.target, folder.items))
            folder.items = []
        return folder

    def is_further_name(self, status: os.stat_result, target: str) -> bool:
        """Tell whether a file is copied already, by another name, and becomes a link to that."""
        if status.st_nlink == 1:
            return False
        first = self._first_names.setdefault((status.st_dev, status.st_ino), target)
        if first is target:
            return False
        self.links.append((first, target))
        return True


def _set_times(target: str | Path, status: os.stat_result) -> None:
    os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns), follow_symlinks=False)


def _copy_xattrs(path: str | Path, target: str | Path) -> None:
    """Copy the extended attributes that belong to the file, not to this machine's policy.

    Where a file system has none, or refuses one, the rest is left out, as BuildKit does.
    """
    try:
        for name in counted_xattrs(os.listxattr(path, follow_symlinks=False)):
            value = os.getxattr(path, name, follow_symlinks=False)
            os.setxattr(target, name, value, follow_symlinks=False)
    except OSError as error:
        if error.errno in NO_SPACE:
            raise
