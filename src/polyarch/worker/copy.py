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

Files are copied by `filecopy`; here are the directories that they go to.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from polyarch.errors import InputError
from polyarch.inroot import resolve, set_owner
from polyarch.record import field, mutable
from polyarch.text.ignore import Matcher
from polyarch.worker.filecopy import FileCopier, TargetDirectory
from polyarch.worker.listing import Listing
from polyarch.worker.tree import Entry
from polyarch.worker.users import Owner, owner_of_new
from polyarch.worker.walk import Selected, select

__all__ = ["Copier", "Ledger", "make_directories"]


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
class Copier(FileCopier):
    """Copies sources of one tree into the tree at `root`, directories with what is in them.

    `includes` and `excludes` say what below a source directory is copied. `created` is the time, in seconds since the
    epoch, of directories on the way to what is wanted; None is that of their source. `made` gathers the directories that
    were made on the way to a destination, and have no source whose time would be theirs. `ledger` knows what is there
    already as it should be, of an earlier copy.
    """

    includes: Matcher | None = None
    excludes: Matcher | None = None
    created: int | None = None
    made: list[Path] = field(default_factory=list)
    ledger: Ledger | None = None

    def copy(self, entry: Entry, destination: str, *, as_itself: bool = False) -> None:
        """Copy one source to `destination`: absolute, a directory if it ends with a slash.

        With `as_itself` a directory that is missing at the destination is made as a copy of the source,
        rather than only taking its contents; where there is one it goes into that, by its name. Raises
        InputError where a file would replace a directory or the reverse.
        """
        self.links.clear()
        try:
            self._copy(entry, destination, as_itself)
        finally:
            self.drop_large()

    def _copy(self, entry: Entry, destination: str, as_itself: bool) -> None:
        if not entry.is_directory:
            target = self.place(entry.name, destination)
            where = str(entry.path.parent)
            directory = TargetDirectory(
                path=str(target.parent), source=self.source.directory(where)
            )
            found = Selected(where, "", entry.path.name, entry.status)
            try:
                self.copy_file(found, directory, target.name)
                self.finish_large()
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
        self._make_directories(self.shown(target.parent if as_itself else target))
        if as_itself:
            os.mkdir(target, 0o755)
        self._copy_contents(entry.path, target)
        if as_itself:
            self.set_metadata(str(entry.path), target, entry.status)
        else:
            self.set_times(target, entry.status)
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
        self._make_directories(self.shown(target.parent))
        self.clear(target)
        return target

    def _make_parent(self, destination: str) -> None:
        directory = destination if destination.endswith("/") else os.path.dirname(destination)
        self._make_directories(directory or "/")

    def _make_directories(self, path: str) -> None:
        """Make the directories that lead to the destination: with the flags' owner and mode."""
        mode = 0o755 if self.mode is None else self.mode.of_new_directories
        make_directories(self.root, path, self.owner, mode, self.made)

    def _copy_contents(self, directory: Path, target: Path) -> None:
        # Directories get their metadata when they are complete: whatever is made in them changes their time.
        unfinished = [
            TargetDirectory(path=str(target), source=self.source.directory(str(directory)))
        ]
        inside = self.shown(target).rstrip("/")
        try:
            for found in self._selected(directory, inside):
                while found.prefix != unfinished[-1].prefix:
                    self._finish(unfinished.pop())
                is_kept = self.ledger is not None and self.ledger.has(inside, found)
                if stat.S_ISDIR(found.status.st_mode):
                    unfinished.append(self._start(found, target, is_kept))
                elif not is_kept:
                    unfinished[-1].is_kept = False
                    self.copy_file(found, unfinished[-1], found.name)
            while len(unfinished) > 1:
                self._finish(unfinished.pop())
            self.finish_large()
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

    def _start(self, found: Selected, target: Path, is_kept: bool) -> TargetDirectory:
        """Make a directory below the destination, if it isn't there."""
        copied = f"{target}/{found.inside}"
        return TargetDirectory(
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
            raise InputError(f"cannot copy to non-directory: {self.shown(target)}") from None
        os.unlink(target)

    def _finish(self, directory: TargetDirectory) -> None:
        directory.close()
        found, target = directory.found, Path(directory.path)
        assert found is not None
        if directory.is_kept:
            return
        if not (found.is_wanted or directory.is_new):
            os.chmod(target, stat.S_IMODE(found.status.st_mode))
            return
        self.set_metadata(found.path, target, found.status)
        if not found.is_wanted and self.created is not None:
            os.utime(target, (self.created, self.created))
