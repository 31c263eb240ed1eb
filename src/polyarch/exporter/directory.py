"""A result's files in a directory of this machine: all of them, or the directory as it was.

What lies in the directory stays, unless the result has something of that name, or the directory is to mirror
the result. A directory meets a directory: they become one. Anything else makes way, whatever it is, and links
are replaced, never followed. BuildKit's client does so, too, but one file after the other, so that an
error leaves it halfway.

Here everything is first written into a directory of our own inside the output, on its file system: a full
disk, an unreadable file or a cancelled build end there. Only then are things moved to their places
(`polyarch.exporter.moves`), and moved back if one of the moves fails. A kill during these moves may
leave some of them undone; nothing is ever half written.
"""

from __future__ import annotations

import fcntl
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from polyarch.exporter.files import check_same, directories_above, walk
from polyarch.exporter.moves import Moves, MovesLost, open_directory
from polyarch.exporter.outfile import made_directory
from polyarch.exporter.result import FileTree
from polyarch.inroot import get_node
from polyarch.record import frozen
from polyarch.store.trees import remove_tree
from polyarch.store.trouble import output_trouble

__all__ = ["DirectoryOptions", "fill_directory", "write_files"]

_SECOND = 1_000_000_000
_PIECE = 16 << 20
_STAGE = ".polyarch-output-"
_LOST = "polyarch-kept-"


def _nothing() -> None:
    """Look for a wish to end, where nobody can have one."""


@frozen
class DirectoryOptions:
    """How files are written into a directory.

    `split` gives each platform a directory of its own; `epoch` is the time that all files get, in seconds,
    None leaves them their own; `is_mirror` removes what the result doesn't have; `check` raises
    Cancelled when it is time to end.
    """

    split: bool
    epoch: int | None = None
    is_mirror: bool = False
    check: Callable[[], None] = _nothing


def write_files(trees: Sequence[FileTree], directory: Path, options: DirectoryOptions) -> None:
    """Copy the files into `directory`, which is made if it is missing. Names of one file stay that.

    Everything belongs to whoever asked for it. Raises InputError if two platforms differ in a file and
    aren't kept apart, StoreError, Cancelled; `directory` is then as it was.
    """

    def fill(stage: int) -> None:
        _Writer(stage, options).write(trees)

    fill_directory(fill, directory, options)


def fill_directory(fill: Callable[[int], None], directory: Path, options: DirectoryOptions) -> None:
    """Move into `directory`, which is made if it is missing, what `fill` writes into a directory that it is given.

    Raises what `fill` does, StoreError, Cancelled; `directory` is then as it was.
    """
    with (
        output_trouble("write to", directory),
        _opened(directory) as target,
        _staged(target) as stage,
    ):
        fill(stage.new)
        options.check()
        leave = _is_stage if options.is_mirror else None
        with _locked(target):
            Moves(stage.new, target, stage.old, leave=leave).run()


def _is_stage(name: str) -> bool:
    return name.startswith(_STAGE)


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    """Open a directory that is made if it is missing, and goes again if the rest fails."""
    # As buildx has it: who else may see what was built is for its user to say.
    with made_directory(directory, 0o700):
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            yield descriptor
        finally:
            os.close(descriptor)


@contextmanager
def _locked(directory: int) -> Iterator[None]:
    """Let no other build move anything in the directory; where it can't be locked, hope so."""
    with suppress(OSError):
        fcntl.flock(directory, fcntl.LOCK_EX)
    try:
        yield
    finally:
        with suppress(OSError):
            fcntl.flock(directory, fcntl.LOCK_UN)


@frozen
class _Stage:
    """A directory of our own within the output: what is to come, and what made way."""

    new: int
    old: int


@contextmanager
def _staged(target: int) -> Iterator[_Stage]:
    """Make a directory of our own in `target`, which goes with all that is in it at the end.

    It is locked as long as somebody uses it: so others know those that a kill left behind.
    """
    name = f"{_STAGE}{os.urandom(6).hex()}"
    with ExitStack() as stack:
        with _locked(target):
            _sweep(target)
            os.mkdir(name, mode=0o700, dir_fd=target)
            stack.callback(remove_tree, f"/proc/self/fd/{target}/{name}")
            stage = _open(stack, target, name)
            with suppress(OSError):
                fcntl.flock(stage, fcntl.LOCK_EX | fcntl.LOCK_NB)
        for each in ("new", "old"):
            os.mkdir(each, mode=0o700, dir_fd=stage)
        try:
            yield _Stage(new=_open(stack, stage, "new"), old=_open(stack, stage, "old"))
        except MovesLost as error:
            kept = name.replace(_STAGE, _LOST)
            os.rename(name, kept, src_dir_fd=target, dst_dir_fd=target)
            error.hint = f"what was there is kept in {kept} of that directory"
            raise


def _open(stack: ExitStack, parent: int, name: str) -> int:
    directory = open_directory(parent, name)
    stack.callback(os.close, directory)
    return directory


def _sweep(target: int) -> None:
    """Remove what builds that were killed have left behind."""
    for name in filter(_is_stage, os.listdir(target)):
        with suppress(OSError), ExitStack() as stack:
            fcntl.flock(_open(stack, target, name), fcntl.LOCK_EX | fcntl.LOCK_NB)
            remove_tree(f"/proc/self/fd/{target}/{name}")


class _Writer:
    """Writes trees into an empty directory of ours."""

    def __init__(self, stage: int, options: DirectoryOptions) -> None:
        self._stage = stage
        self._options = options
        self._written: dict[str, FileTree] = {}

    def write(self, trees: Sequence[FileTree]) -> None:
        for tree in trees:
            prefix = ""
            if self._options.split:
                prefix = f"{tree.directory}/"
                os.mkdir(tree.directory, mode=0o755, dir_fd=self._stage)
            self._tree(tree, prefix)
            for name, data in tree.added.items():
                self._add(prefix + name, data)
            if prefix:
                # It is no file of the result, so it has no time but the epoch, as in BuildKit.
                self._date(tree.directory, 0)

    def _tree(self, tree: FileTree, prefix: str) -> None:
        directories = []
        names: dict[tuple[int, int], str] = {}
        for path, entry in walk(str(tree.root)):
            self._options.check()
            name = prefix + path
            status = entry.stat(follow_symlinks=False)
            if name in self._written:
                check_same(path, self._written[name], tree)
            elif stat.S_ISDIR(status.st_mode):
                os.mkdir(name, mode=0o700, dir_fd=self._stage)
            else:
                self._place(entry, name, status, names)
            self._written[name] = tree
            if stat.S_ISDIR(status.st_mode):
                directories.append((name, status))
        # Times and modes last: files that come into a directory change the one and need the other.
        for name, status in reversed(directories):
            os.chmod(name, stat.S_IMODE(status.st_mode), dir_fd=self._stage)
            self._date(name, status.st_mtime_ns)

    def _add(self, name: str, data: bytes) -> None:
        for above in directories_above(name):
            with suppress(FileExistsError):
                os.mkdir(above, mode=0o755, dir_fd=self._stage)
                self._date(above, time.time_ns())
        # What the result has of that name makes way, as in BuildKit, which lays the one over the other.
        with suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._stage)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        with open(os.open(name, flags, 0o600, dir_fd=self._stage), "wb") as file:
            file.write(data)
        if self._options.epoch is not None:
            self._date(name, self._options.epoch * _SECOND)

    def _place(
        self,
        entry: os.DirEntry[str],
        name: str,
        status: os.stat_result,
        names: dict[tuple[int, int], str],
    ) -> None:
        mode, _ = get_node(entry.path, status)
        if stat.S_ISREG(mode):
            first = names.setdefault((status.st_dev, status.st_ino), name)
            if status.st_nlink > 1 and first != name:
                os.link(first, name, src_dir_fd=self._stage, dst_dir_fd=self._stage)
            else:
                self._copy(entry.path, name, status)
        elif stat.S_ISLNK(mode):
            os.symlink(os.readlink(entry.path), name, dir_fd=self._stage)
            self._date(name, status.st_mtime_ns)
        elif stat.S_ISFIFO(mode):
            os.mkfifo(name, dir_fd=self._stage)
            os.chmod(name, stat.S_IMODE(mode), dir_fd=self._stage)
            self._date(name, status.st_mtime_ns)
        # Devices and sockets mean nothing outside of an image.

    def _copy(self, source: str, name: str, status: os.stat_result) -> None:
        reader = os.open(source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            writer = os.open(name, flags, 0o600, dir_fd=self._stage)
            try:
                left = status.st_size
                while left and (count := os.sendfile(writer, reader, None, min(left, _PIECE))):
                    left -= count
                    self._options.check()
                os.fchmod(writer, stat.S_IMODE(status.st_mode))
                os.utime(writer, ns=self._times(status.st_mtime_ns))
            finally:
                os.close(writer)
        finally:
            os.close(reader)

    def _date(self, name: str, mtime: int) -> None:
        os.utime(name, ns=self._times(mtime), dir_fd=self._stage, follow_symlinks=False)

    def _times(self, mtime: int) -> tuple[int, int]:
        epoch = self._options.epoch
        moment = mtime if epoch is None else epoch * _SECOND
        return moment, moment
