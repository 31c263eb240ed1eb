"""Trees that are read: a build context in its directory, or the merged view of snapshots.

Both answer the same questions, so that copying and hashing don't care. The difference: a context
is filtered by its ignore file, its files belong to 0:0 whoever owns them on this machine, and its
extended attributes don't count. Source: what BuildKit's client sends of a local context.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from polyarch.errors import NotFound
from polyarch.inroot import get_owner, resolve
from polyarch.look import Status
from polyarch.progress import check_cancelled
from polyarch.record import field, frozen
from polyarch.store.layerform import Opener, find, open_plain
from polyarch.text.wildcard import compile_name, has_wildcards, split_pattern
from polyarch.worker.listing import Found, Listing
from polyarch.worker.steady import (
    SWAPPED,
    SteadyDirectory,
    changed,
    open_directory,
    read_link,
    reading_context,
)

__all__ = [
    "SMALL_FILE",
    "Combine",
    "Contents",
    "Entry",
    "FileDigest",
    "PlainDirectory",
    "SourceTree",
    "clean_source",
    "find_literal",
    "find_names",
    "find_path",
    "find_sources",
    "find_starts",
    "hash_file",
    "hash_link",
    "hash_open",
    "reading_contexts",
]

_CHUNK = 1 << 20

FileDigest = Callable[[str, Status], bytes]
"""From a regular file's path and status to the sha256 of its content."""
Combine = Callable[[Listing, Sequence[bytes]], bytes]
"""From what a directory holds, and the contents of that, to one digest."""

SMALL_FILE = 1 << 16
"""Bytes up to which a file is read as a whole; larger ones are copied by the kernel."""


class Contents(Protocol):
    """What was found out about the files of a context, a directory at a time.

    The content of a regular file is the sha256 of its bytes, that of a symbolic link the one of its target,
    and that of anything else is empty.
    """

    def of_directory(self, path: str, listing: Listing, combine: Combine, /) -> bytes:
        """Return what `combine` makes of the directory at `path`: by memory, if that is unchanged.

        Raises InputError for a file that can't be read, or that changes while it is read.
        """

    def find(self, directory: str, name: str, /) -> bytes:
        """Return the content of a file of which a digest was made; nothing if none was."""

    def total(self, directory: str, listing: Listing, /) -> bytes:
        """Return 32 bytes that tell the looks and contents of all files of a directory; nothing if they aren't known.

        Of the directories in it they tell the modes.
        """

    def take(self, directory: str, name: str, status: Status, /) -> bytes | None:
        """Give the bytes of a small file that was just read, and looked like that; once."""


def hash_file(path: str, status: Status) -> bytes:
    """Read a file and return the sha256 of its content. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    try:
        if status.st_size <= SMALL_FILE:
            data = os.read(descriptor, SMALL_FILE + 1)
            if len(data) == status.st_size:
                return hashlib.sha256(data).digest()
            os.lseek(descriptor, 0, os.SEEK_SET)
        return hash_open(descriptor)
    finally:
        os.close(descriptor)


def hash_link(target: str) -> bytes:
    """Return what stands for the content of a symbolic link."""
    return hashlib.sha256(os.fsencode(target)).digest()


def hash_open(descriptor: int) -> bytes:
    """Read an open file from where it is to its end, and return the sha256. Raises OSError."""
    found = hashlib.sha256(usedforsecurity=False)
    while piece := os.read(descriptor, _CHUNK):
        check_cancelled()
        found.update(piece)
    return found.digest()


@frozen
class SourceTree:
    """A tree to read from.

    `ignores` says of a path below the root, without a leading slash, whether it is left out; `may_keep`
    says of a directory that is left out whether something below it may be brought back. `revision` names
    the commit that it is, if it is one. `layers` are the directories of snapshots that it is merged from,
    topmost first; files in them are opened by `open_file`. `contents` are known of some contexts.
    """

    root: Path
    is_context: bool = False
    ignores: Callable[[str], bool] | None = None
    may_keep: Callable[[str], bool] | None = None
    file_digest: FileDigest = hash_file
    revision: str = ""
    layers: tuple[str, ...] = ()
    open_file: Opener = open_plain
    contents: Contents | None = field(default=None, repr=False)
    _listings: dict[str, Listing] = field(default_factory=dict, repr=False)
    _looks: dict[Path, Status] = field(default_factory=dict, repr=False)

    def owner(self, path: str, status: Status) -> tuple[int, int]:
        """Return who owns the file at `path` (absolute, on this machine) in the result."""
        return (0, 0) if self.is_context else get_owner(path, status)

    def directory(self, path: str) -> SteadyDirectory | PlainDirectory:
        """Give the directory at `path` (absolute, on this machine) for opening files in it.

        Whoever has opened one closes it.
        """
        return SteadyDirectory(path) if self.is_context else PlainDirectory(path)

    def open_in_layer(self, path: str) -> int | None:
        """Open the regular file at `path` where it lies in its layer; None if it is in none.

        Returns a descriptor. Raises OSError.
        """
        found = self.find_in_layer(path)
        return None if found is None else self.open_file(found)

    def find_in_layer(self, path: str) -> str | None:
        """Return where that lies in its layer which is at `path`; None if it is in none. Raises OSError."""
        return find(self.layers, path[len(str(self.root)) + 1 :]) if self.layers else None

    def link(self, path: str, status: Status) -> str:
        """Return what the symbolic link at `path` leads to. Raises InputError, OSError."""
        return read_link(path, status) if self.is_context else os.readlink(path)

    def entries(self, directory: Path | str) -> Iterable[Found]:
        """List a directory below the root, sorted by name, without what is ignored. Raises as `listing`."""
        return self.listing(str(directory)) if self.is_context else _list_plain(str(directory))

    def listing(self, directory: str) -> Listing:
        """List a directory of a context, which is read once for the whole build.

        What is hashed is thus what is copied. Raises InputError if the directory can't be read, or has
        become a link.
        """
        found = self._listings.get(directory)
        if found is None:
            # Another thread may have been quicker; what it has seen may be hashed by now.
            found = self._listings.setdefault(directory, self._list(directory))
        return found

    def look(self, path: Path) -> Status:
        """Return the status of the file at `path` itself; that of one in a context is found once.

        Raises OSError.
        """
        if not self.is_context:
            return os.lstat(path)
        found = self._looks.get(path)
        return self._looks.setdefault(path, os.lstat(path)) if found is None else found

    def _list(self, directory: str) -> Listing:
        ignores, prefix = self.ignores is not None, ""
        if ignores and directory != str(self.root):
            prefix = os.path.relpath(directory, self.root) + "/"
        names, statuses = [], []
        with reading_context(directory):
            descriptor = open_directory(directory)
            try:
                for name in sorted(os.listdir(descriptor)):
                    if ignores and self._is_left_out(prefix + name, descriptor):
                        continue
                    status = _find_status(name, descriptor)
                    if status is not None and not stat.S_ISSOCK(status.st_mode):
                        names.append(name)
                        statuses.append(status)
                device = os.fstat(descriptor).st_dev
            finally:
                os.close(descriptor)
        return Listing(names, statuses, device)

    def _is_left_out(self, path: str, parent: int) -> bool:
        if self.ignores is None or not self.ignores(path):
            return False
        if self.may_keep is None or not self.may_keep(path):
            return True
        # An ignored directory stays if a later pattern brings something below it back.
        status = _find_status(os.path.basename(path), parent)
        is_directory = status is not None and stat.S_ISDIR(status.st_mode)
        return not (is_directory and len(self.listing(f"{self.root}/{path}")))


class PlainDirectory:
    """A directory of a tree that nobody changes; as `SteadyDirectory`. Raises OSError."""

    __slots__ = ("_descriptor", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor = -1

    def open(self, name: str, _status: Status) -> int:
        """Open a regular file for reading; return its descriptor."""
        if self._descriptor < 0:
            self._descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
        return os.open(name, flags, dir_fd=self._descriptor)

    def close(self) -> None:
        """Close the directory; may be repeated."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def _list_plain(directory: str) -> list[Found]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return [
            Found(name, os.stat(name, dir_fd=descriptor, follow_symlinks=False))
            for name in sorted(os.listdir(descriptor))
        ]
    finally:
        os.close(descriptor)


def _find_status(name: str, directory: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None  # it vanished


@contextmanager
def reading_contexts(contexts: Iterable[SourceTree]) -> Iterator[None]:
    """Raise InputError for what has become another thing in one of `contexts`, wherever it was noticed.

    What else goes wrong inside, and what goes wrong elsewhere, is left alone.
    """
    try:
        yield
    except OSError as error:
        path = error.filename if isinstance(error.filename, str) else ""
        roots = [str(tree.root) for tree in contexts if tree.is_context]
        if error.errno in SWAPPED and any(f"{path}/".startswith(f"{root}/") for root in roots):
            raise changed(path) from error
        raise


@frozen
class Entry:
    """A source that was found: `name` is what it is called at the destination, `path` where it lies."""

    name: str
    path: Path
    status: Status

    @property
    def is_directory(self) -> bool:
        """Whether its contents are copied, rather than itself."""
        return stat.S_ISDIR(self.status.st_mode)


def clean_source(source: str) -> str:
    """Clean a source path: relative to the root, which it can't leave."""
    return os.path.normpath("/" + source).lstrip("/")


def find_sources(tree: SourceTree, source: str) -> list[Entry]:
    """Return what one source argument of COPY or ADD names, in order.

    A pattern that matches nothing is no error; a missing path is one. Symbolic links are followed
    inside the root. Raises NotFound. Source: features of BuildKit's copy, path semantics.
    """
    if not split_pattern(clean_source(source))[1]:
        return [_literal(tree, clean_source(source), source)]
    return [_literal(tree, match, source) for match in find_names(tree, source)]


def find_names(tree: SourceTree, source: str) -> list[str]:
    """Return the paths that match a pattern, in order; of what is no pattern itself. Raises NotFound."""
    directory, pattern = split_pattern(clean_source(source))
    if not pattern:
        return [directory]
    base = resolve(tree.root, directory)
    if _find_source(tree, base) is None:
        raise NotFound(
            f"lstat /{directory}: no such file or directory",
            hint=f"a pattern may match nothing, but where {source} begins must exist",
        )
    return list(_matches(tree, base, pattern)) if base.is_dir() else []


def find_starts(tree: SourceTree, source: str) -> tuple[list[Entry], str]:
    """Return where the paths of `COPY --parents SOURCE` start, and the pattern for what is below.

    A path starts behind the pivot `/./`, else at the root. Raises NotFound for a path that is missing.
    """
    base, pivot, rest = source.partition("/./")
    if not pivot:
        base, rest = "/", source
    pattern = clean_source(rest)
    if not has_wildcards(source):
        _literal(tree, f"{clean_source(base)}/{pattern}", source)
    return find_sources(tree, base), pattern


def find_path(tree: SourceTree, path: str) -> Entry:
    """Return what a path names that is no pattern, links followed inside the root. Raises NotFound."""
    return _literal(tree, clean_source(path), path)


def find_literal(tree: SourceTree, source: str) -> Entry:
    """Return what a path names that is no pattern, without following it if it is a link.

    Raises NotFound.
    """
    path = clean_source(source)
    real = resolve(tree.root, path, follow_last=False)
    try:
        return Entry(name=path.rpartition("/")[2], path=real, status=tree.look(real))
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f'"/{path}": not found') from None


def _literal(tree: SourceTree, path: str, source: str) -> Entry:
    real = resolve(tree.root, path)
    status = _find_source(tree, real)
    if status is None:
        shown = "/" + clean_source(source)
        raise NotFound(f'"{shown}": not found', hint=_hint(tree, real, source))
    return Entry(name=path.rpartition("/")[2], path=real, status=status)


def _find_source(tree: SourceTree, real: Path) -> Status | None:
    """Return the status of what lies at `real`, None if there is nothing or it is no part of the tree."""
    try:
        status = tree.look(real)
        inside = os.path.relpath(real, tree.root)
        if tree.ignores is not None and inside != ".":
            _check_kept(tree, real, inside, status)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return None if tree.is_context and stat.S_ISSOCK(status.st_mode) else status


def _check_kept(tree: SourceTree, real: Path, inside: str, status: Status) -> None:
    assert tree.ignores is not None
    is_directory = stat.S_ISDIR(status.st_mode)
    if tree.ignores(inside) and not (is_directory and len(tree.listing(str(real)))):
        raise FileNotFoundError(inside)


def _hint(tree: SourceTree, real: Path, source: str) -> str:
    if not tree.is_context:
        return "the path must exist in the stage or image that --from names"
    if os.path.lexists(real):
        if stat.S_ISSOCK(os.lstat(real).st_mode):
            return "it is a socket, which is no part of a build context"
        return "the file is there, but the ignore file leaves it out of the build context"
    if ".." in source.split("/"):
        return (
            f"a path can't lead out of the build context, {tree.root}: build with a directory above"
        )
    near = [name for name in _siblings(real) if name.lower() == real.name.lower()]
    return (
        f"did you mean {near[0]}?"
        if near
        else f"looked in {tree.root}; paths are relative to the build context"
    )


def _siblings(path: Path) -> list[str]:
    try:
        return os.listdir(path.parent)
    except OSError:
        return []


def _matches(tree: SourceTree, base: Path, pattern: str) -> Iterator[str]:
    """Yield the paths below `base` that match, outermost first: a match isn't looked into."""
    components = pattern.split("/")
    prefix = os.path.relpath(base, tree.root)
    yield from _match_level(tree, base, components, "" if prefix == "." else prefix + "/")


def _match_level(
    tree: SourceTree, directory: Path, components: list[str], prefix: str
) -> Iterator[str]:
    expression = compile_name(components[0])
    for entry in tree.entries(directory):
        if not expression.fullmatch(entry.name):
            continue
        if len(components) == 1:
            yield prefix + entry.name
        elif stat.S_ISDIR(entry.status.st_mode):
            yield from _match_level(
                tree, directory / entry.name, components[1:], f"{prefix}{entry.name}/"
            )
