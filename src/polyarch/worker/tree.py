"""Trees that are read: a build context in its folder, or the merged view of snapshots.

Both answer the same questions, so that copying and hashing don't care. The difference: a context
is filtered by its ignore file, its files belong to 0:0 whoever owns them on this machine, and its
extended attributes don't count. Source: what BuildKit's client sends of a local context.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

from polyarch.errors import InputError, NotFound
from polyarch.inroot import get_owner, resolve
from polyarch.record import field, frozen
from polyarch.text.ignore import Matcher

__all__ = [
    "Entry",
    "FileDigest",
    "SourceTree",
    "clean_source",
    "find_sources",
    "find_with_parents",
    "hash_file",
    "split_pattern",
]

FileDigest = Callable[[str, os.stat_result], bytes]
"""From a regular file's path and status to the sha256 of its content."""

_WILDCARDS = re.compile(r"[*?\[\\]")


def hash_file(path: str, _status: os.stat_result) -> bytes:
    """Read a file and return the sha256 of its content. Raises OSError."""
    with open(path, "rb", buffering=0) as stream:
        return hashlib.file_digest(stream, "sha256").digest()


@frozen
class SourceTree:
    """A tree to read from.

    `ignores` says of a path below the root, without a leading slash, whether it is left out; `may_keep`
    says of a folder that is left out whether something below it may be brought back. `revision` names
    the commit that it is, if it is one.
    """

    root: Path
    is_context: bool = False
    ignores: Callable[[str], bool] | None = None
    may_keep: Callable[[str], bool] | None = None
    file_digest: FileDigest = hash_file
    revision: str = ""
    _listings: dict[str, list[os.DirEntry[str]]] = field(default_factory=dict, repr=False)

    def owner(self, path: str, status: os.stat_result) -> tuple[int, int]:
        """Return who owns the file at `path` (absolute, on this machine) in the result."""
        return (0, 0) if self.is_context else get_owner(path, status)

    def entries(self, folder: Path) -> list[os.DirEntry[str]]:
        """List a folder below the root, sorted by name, without what is ignored.

        A context's listing is read once for the whole build, so that what is hashed is what is copied.
        """
        if not self.is_context:
            return _listing(folder)
        key = str(folder)
        if key not in self._listings:
            found = _context_listing(folder)
            if self.ignores is not None:
                prefix = "" if folder == self.root else os.path.relpath(folder, self.root) + "/"
                found = [each for each in found if not self._is_left_out(prefix + each.name, each)]
            self._listings[key] = found
        return self._listings[key]

    def _is_left_out(self, path: str, entry: os.DirEntry[str]) -> bool:
        assert self.ignores is not None
        if not self.ignores(path):
            return False
        if not entry.is_dir(follow_symlinks=False) or not (self.may_keep and self.may_keep(path)):
            return True
        # An ignored folder stays if a later pattern brings something below it back.
        return not self.entries(self.root / path)


def _name(entry: os.DirEntry[str]) -> str:
    return entry.name


def _listing(folder: Path) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as listing:
        return sorted(listing, key=_name)


def _context_listing(folder: Path) -> list[os.DirEntry[str]]:
    try:
        return _listing(folder)
    except PermissionError as error:
        raise InputError(
            f"can't read {folder} of the build context: {error.strerror}",
            hint="mend its permissions, or leave it out by .dockerignore",
        ) from error


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


def split_pattern(source: str) -> tuple[str, str]:
    """Split a cleaned source path into the part before the first component with a wildcard, and the rest."""
    parts = source.strip("/").split("/")
    for number, part in enumerate(parts):
        if _WILDCARDS.search(part):
            return "/".join(parts[:number]), "/".join(parts[number:])
    return "/".join(parts), ""


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
    if not base.is_dir():
        return []
    return [_literal(tree, match, source) for match in _matches(tree, base, pattern)]


def find_with_parents(tree: SourceTree, source: str) -> list[Entry]:
    """Return what one source argument of `COPY --parents` names, parents before children.

    Each entry's name is its path behind the pivot `/./`, or behind the root. A pattern takes whole
    folders; `**` is any number of folders. Raises NotFound for a path that is missing.
    """
    base, _, rest = source.partition("/./") if "/./" in source else ("", "", source)
    pattern = clean_source(rest)
    if not _WILDCARDS.search(source):
        _literal(tree, f"{clean_source(base)}/{pattern}", source)
    matcher = Matcher([pattern or "**"])
    found: list[Entry] = []
    for folder in find_sources(tree, base or "/"):
        if folder.is_directory:
            found += _selected(tree, folder.path, matcher, "")
    return found


def _selected(tree: SourceTree, folder: Path, matcher: Matcher, prefix: str) -> Iterator[Entry]:
    for item in tree.entries(folder):
        path = prefix + item.name
        if matcher.ignores(path):
            status = item.stat(follow_symlinks=False)
            yield Entry(name=path, path=folder / item.name, status=status)
        if item.is_dir(follow_symlinks=False):
            yield from _selected(tree, folder / item.name, matcher, f"{path}/")


def _literal(tree: SourceTree, path: str, source: str) -> Entry:
    real = resolve(tree.root, path)
    try:
        status = os.lstat(real)
        inside = os.path.relpath(real, tree.root)
        if tree.ignores is not None and inside != ".":
            _check_kept(tree, real, inside, status)
    except (FileNotFoundError, NotADirectoryError):
        shown = "/" + clean_source(source)
        raise NotFound(f'"{shown}": not found', hint=_hint(tree, real, source)) from None
    return Entry(name=path.rpartition("/")[2], path=real, status=status)


def _check_kept(tree: SourceTree, real: Path, inside: str, status: os.stat_result) -> None:
    assert tree.ignores is not None
    if tree.ignores(inside) and not (stat.S_ISDIR(status.st_mode) and tree.entries(real)):
        raise FileNotFoundError(inside)


def _hint(tree: SourceTree, real: Path, source: str) -> str:
    if not tree.is_context:
        return "the path must exist in the stage or image that --from names"
    if os.path.lexists(real):
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
    expression = _component(components[0])
    for entry in tree.entries(folder):
        if not expression.fullmatch(entry.name):
            continue
        if len(components) == 1:
            yield prefix + entry.name
        elif entry.is_dir(follow_symlinks=False):
            yield from _match_level(
                tree, folder / entry.name, components[1:], f"{prefix}{entry.name}/"
            )


def _component(pattern: str) -> re.Pattern[str]:
    """Compile one component of Go's path.Match: star, question mark, classes, backslash escapes."""
    out, index = [], 0
    while index < len(pattern):
        char = pattern[index]
        if char == "*":
            out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "[" and (end := pattern.find("]", index + 2)) > 0:
            out.append("[" + pattern[index + 1 : end].replace("[", "\\[") + "]")
            index = end
        elif char == "\\" and index + 1 < len(pattern):
            index += 1
            out.append(re.escape(pattern[index]))
        else:
            out.append(re.escape(char))
        index += 1
    return re.compile("".join(out), re.DOTALL)
