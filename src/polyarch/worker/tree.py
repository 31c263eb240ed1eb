"""Trees that are read: a build context in its folder, or the merged view of snapshots.

Both answer the same questions, so that copying and hashing don't care. The difference: a context
is filtered by its ignore file, its files belong to 0:0 whoever owns them on this machine, and its
extended attributes don't count. Source: what BuildKit's client sends of a local context.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import NamedTuple

from polyarch.errors import NotFound
from polyarch.inroot import get_owner, resolve
from polyarch.progress import check_cancelled
from polyarch.record import field, frozen
from polyarch.store.layerform import find
from polyarch.text.ignore import Matcher, Verdict
from polyarch.text.wildcard import compile_name, has_wildcards, split_pattern
from polyarch.worker.steady import (
    SWAPPED,
    changed,
    open_folder,
    open_regular,
    read_link,
    reading_context,
)

__all__ = [
    "SMALL_FILE",
    "Entry",
    "FileDigest",
    "Selected",
    "SourceTree",
    "clean_source",
    "find_literal",
    "find_path",
    "find_sources",
    "find_starts",
    "hash_file",
    "hash_open",
    "reading_contexts",
    "select",
]

_CHUNK = 1 << 20

FileDigest = Callable[[str, os.stat_result], bytes]
"""From a regular file's path and status to the sha256 of its content."""


SMALL_FILE = 1 << 16
"""Bytes up to which a file is read as a whole; larger ones are copied by the kernel."""


def hash_file(path: str, status: os.stat_result) -> bytes:
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
    says of a folder that is left out whether something below it may be brought back. `revision` names
    the commit that it is, if it is one. `layers` are the directories of snapshots that it is merged from,
    topmost first.
    """

    root: Path
    is_context: bool = False
    ignores: Callable[[str], bool] | None = None
    may_keep: Callable[[str], bool] | None = None
    file_digest: FileDigest = hash_file
    revision: str = ""
    layers: tuple[str, ...] = ()
    held: dict[str, bytes] = field(default_factory=dict, repr=False)
    """Content of small files that hashing has just read, by path: whoever copies one takes it out."""
    _listings: dict[str, list[os.DirEntry[str]]] = field(default_factory=dict, repr=False)

    def owner(self, path: str, status: os.stat_result) -> tuple[int, int]:
        """Return who owns the file at `path` (absolute, on this machine) in the result."""
        return (0, 0) if self.is_context else get_owner(path, status)

    def open(self, path: str, status: os.stat_result) -> int:
        """Open the regular file at `path` that `status` is of; return its descriptor.

        Raises InputError if a file of a context is another by now, OSError.
        """
        if self.is_context:
            return open_regular(path, status)
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def open_in_layer(self, path: str) -> int | None:
        """Open the regular file at `path` where it lies in its layer; None if it is in none.

        Returns a descriptor. Raises OSError.
        """
        found = find(self.layers, path[len(str(self.root)) + 1 :]) if self.layers else None
        return None if found is None else os.open(found, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)

    def reading(self, path: str) -> AbstractContextManager[None]:
        """Give a block in which errors about a file of a context become those of whoever gave it."""
        return reading_context(path) if self.is_context else nullcontext()

    def link(self, path: str, status: os.stat_result) -> str:
        """Return what the symbolic link at `path` leads to. Raises as `open`."""
        return read_link(path, status) if self.is_context else os.readlink(path)

    def entries(self, folder: Path | str) -> list[os.DirEntry[str]]:
        """List a folder below the root, sorted by name, without what is ignored.

        A context's listing is read once for the whole build, with what each file looks like, so that
        what is hashed is what is copied. `path` of its entries is the name alone.
        """
        key = str(folder)
        if not self.is_context:
            return _listing(key)
        if key not in self._listings:
            self._listings[key] = self._context_listing(key)
        return self._listings[key]

    def _context_listing(self, folder: str) -> list[os.DirEntry[str]]:
        root = str(self.root)
        prefix = "" if folder == root else os.path.relpath(folder, root) + "/"
        with reading_context(folder):
            descriptor = open_folder(folder)
            try:
                found = _listing(descriptor)
                if self.ignores is not None:
                    found = [each for each in found if not self._is_left_out(prefix, each)]
                return [entry for entry in found if _is_sent(entry)]
            finally:
                os.close(descriptor)

    def _is_left_out(self, prefix: str, entry: os.DirEntry[str]) -> bool:
        assert self.ignores is not None
        path = prefix + entry.name
        if not self.ignores(path):
            return False
        if not entry.is_dir(follow_symlinks=False) or not (self.may_keep and self.may_keep(path)):
            return True
        # An ignored folder stays if a later pattern brings something below it back.
        return not self.entries(f"{self.root}/{path}")


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _listing(folder: str | int) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as listing:
        return sorted(listing, key=_name)


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


def _is_sent(entry: os.DirEntry[str]) -> bool:
    """Look at an entry while its folder is open; return whether a builder is sent such a file."""
    try:
        return not stat.S_ISSOCK(entry.stat(follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False  # it vanished


@frozen
class Entry:
    """A source that was found: `name` is what it is called at the destination, `path` where it lies."""

    name: str
    path: Path
    status: os.stat_result

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
    folder, pattern = split_pattern(clean_source(source))
    if not pattern:
        return [_literal(tree, folder, source)]
    base = resolve(tree.root, folder)
    if _find_status(tree, base) is None:
        raise NotFound(
            f"lstat /{folder}: no such file or directory",
            hint=f"a pattern may match nothing, but where {source} begins must exist",
        )
    if not base.is_dir():
        return []
    return [_literal(tree, match, source) for match in _matches(tree, base, pattern)]


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


class Selected(NamedTuple):
    """Something below a source folder that is to be copied; `inside` is its path below that folder.

    `is_wanted` is false for a folder that comes only because something in it is wanted.
    """

    inside: str
    path: str
    status: os.stat_result
    is_wanted: bool


def select(
    tree: SourceTree,
    folder: Path | str,
    includes: Matcher | None = None,
    excludes: Matcher | None = None,
) -> Iterator[Selected]:
    """Walk a folder below the root: what `includes` match and `excludes` don't, folders before their contents.

    None stands for all and for nothing. A pattern that matches a folder matches all that is in it.
    """
    return _Selection(tree, includes, excludes).below(str(folder), "", None, None)


class _Selection:
    def __init__(
        self, tree: SourceTree, includes: Matcher | None, excludes: Matcher | None
    ) -> None:
        self._tree = tree
        self._includes = includes
        self._excludes = excludes
        # Folders on the way to where the walk is, of which nothing was wanted so far.
        self._waiting: list[Selected] = []

    def below(
        self, folder: str, prefix: str, included: Verdict | None, excluded: Verdict | None
    ) -> Iterator[Selected]:
        """Walk `folder`, called `prefix`, given the verdicts on it."""
        for item in self._tree.entries(folder):
            check_cancelled()
            inside = prefix + item.name
            includes = _judge(self._includes, inside, included)
            excludes = _judge(self._excludes, inside, excluded)
            is_excluded = excludes is not None and excludes.ignored
            is_wanted = (includes is None or includes.ignored) and not is_excluded
            is_folder = item.is_dir(follow_symlinks=False)
            if not is_wanted and (not is_folder or (is_excluded and not self._may_return)):
                continue
            status = item.stat(follow_symlinks=False)
            found = Selected(inside, f"{folder}/{item.name}", status, is_wanted)
            if is_wanted:
                if self._waiting:
                    yield from self._waiting
                    self._waiting.clear()
                yield found
            if is_folder:
                yield from self._contents(found, includes, excludes)

    def _contents(
        self, found: Selected, includes: Verdict | None, excludes: Verdict | None
    ) -> Iterator[Selected]:
        if found.is_wanted:
            yield from self.below(found.path, f"{found.inside}/", includes, excludes)
            return
        self._waiting.append(found)
        yield from self.below(found.path, f"{found.inside}/", includes, excludes)
        if self._waiting:
            self._waiting.pop()

    @property
    def _may_return(self) -> bool:
        """Whether something in an excluded folder may be brought back."""
        return self._excludes is not None and self._excludes.has_exceptions


def _judge(matcher: Matcher | None, path: str, above: Verdict | None) -> Verdict | None:
    # A matcher without patterns is one that matches nothing.
    return None if matcher is None else matcher.judge(path, above)


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
        return Entry(name=path.rpartition("/")[2], path=real, status=os.lstat(real))
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f'"/{path}": not found') from None


def _literal(tree: SourceTree, path: str, source: str) -> Entry:
    real = resolve(tree.root, path)
    status = _find_status(tree, real)
    if status is None:
        shown = "/" + clean_source(source)
        raise NotFound(f'"{shown}": not found', hint=_hint(tree, real, source))
    return Entry(name=path.rpartition("/")[2], path=real, status=status)


def _find_status(tree: SourceTree, real: Path) -> os.stat_result | None:
    """Return the status of what lies at `real`, None if there is nothing or it is no part of the tree."""
    try:
        status = os.lstat(real)
        inside = os.path.relpath(real, tree.root)
        if tree.ignores is not None and inside != ".":
            _check_kept(tree, real, inside, status)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return None if tree.is_context and stat.S_ISSOCK(status.st_mode) else status


def _check_kept(tree: SourceTree, real: Path, inside: str, status: os.stat_result) -> None:
    assert tree.ignores is not None
    if tree.ignores(inside) and not (stat.S_ISDIR(status.st_mode) and tree.entries(real)):
        raise FileNotFoundError(inside)


def _hint(tree: SourceTree, real: Path, source: str) -> str:
    if not tree.is_context:
        return "the path must exist in the stage or image that --from names"
    if os.path.lexists(real):
        if stat.S_ISSOCK(os.lstat(real).st_mode):
            return "it is a socket, which is no part of a build context"
        return "the file is there, but the ignore file leaves it out of the build context"
    if ".." in source.split("/"):
        return f"a path can't lead out of the build context, {tree.root}: build with a folder above"
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
    tree: SourceTree, folder: Path, components: list[str], prefix: str
) -> Iterator[str]:
    expression = compile_name(components[0])
    for entry in tree.entries(folder):
        if not expression.fullmatch(entry.name):
            continue
        if len(components) == 1:
            yield prefix + entry.name
        elif entry.is_dir(follow_symlinks=False):
            yield from _match_level(
                tree, folder / entry.name, components[1:], f"{prefix}{entry.name}/"
            )
