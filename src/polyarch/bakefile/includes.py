"""`include = [...]`: other bake files that a bake file is completed by.

    include = [
      "common.hcl",                                   # a file: one definition with this one
      "services/api",                                 # a directory: its own bake file, its targets called `api-…`
      "https://github.com/org/shared.git#v1:bake",    # a directory of a repository
      { path = "services/web", prefix = "www" },      # with a name of one's own
    ]

A file is read as if it was named by `-f` before the one that includes it, which so has the last word. What has a
prefix is a definition of its own, with its own variables and functions: its `default` is called `api`, what else it
defines `api-NAME`, and what it says of its own targets is changed along. Paths of included files are relative to
the directory that they are in.

buildx takes `include` for a variable.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from polyarch.bakefile.access import Access, RemoteFile, Tree
from polyarch.bakefile.addresses import is_remote
from polyarch.bakefile.files import File, parse_body, read_default, read_included, read_remote
from polyarch.bakefile.hcl.body import Attribute, Block, Body
from polyarch.bakefile.hcl.evaluate import Scope, evaluate
from polyarch.bakefile.hcl.functions.library import LIBRARY
from polyarch.bakefile.hcl.nodes import Tuples
from polyarch.bakefile.hcl.place import HclError, Range
from polyarch.bakefile.hcl.types import Kind
from polyarch.bakefile.hcl.values import Value, string
from polyarch.errors import BakeFileError, InputError
from polyarch.golang.strconv import quote
from polyarch.pattern import pattern
from polyarch.record import frozen, replace
from polyarch.text.nearest import suggestion

__all__ = ["Gathered", "Includes", "Part", "Shared", "Source"]

_NAME = "include"
_FIELDS = ("path", "prefix")
_ODD = pattern(r"[^a-zA-Z0-9_-]+")
_DEEPEST = 50
_MOST = 500
"""More is what a file of somebody else makes of a few, each of which includes the next one twice."""


class Source(NamedTuple):
    """A file of a definition: HCL has a body, Compose None. `within` are the files that it includes, by identity."""

    file: File
    body: Body | None
    is_included: bool
    within: frozenset[str] = frozenset()


class Part(NamedTuple):
    """Files that are a definition of their own, and what stands before its names, if anything; `chain` led there."""

    prefix: str
    files: tuple[File, ...]
    at: Range
    chain: tuple[str, ...]


@frozen
class Gathered:
    """The files of a definition in the order in which later ones win, and definitions with a prefix."""

    sources: tuple[Source, ...]
    parts: tuple[Part, ...]


class _Item(NamedTuple):
    path: str
    prefix: str | None
    at: Range


class Shared:
    """What all files of a definition share: what was fetched, by address, and how many were included."""

    def __init__(self) -> None:
        self.fetched: dict[str, Tree | RemoteFile] = {}
        self.included = 0


class Includes:
    """Gathers the files of one definition; `builtins` may be used in `include`. `chain` are the files that led to it."""

    def __init__(
        self,
        access: Access,
        builtins: Mapping[str, str],
        chain: tuple[str, ...] = (),
        shared: Shared | None = None,
    ) -> None:
        self._access = access
        self._scope = Scope({name: string(value) for name, value in builtins.items()}, LIBRARY)
        self._chain = chain
        self._sources: dict[str, Source] = {}
        self._parts: list[Part] = []
        self._shared = Shared() if shared is None else shared

    def gather(self, files: Sequence[tuple[File, Body | None]]) -> Gathered:
        """Return all files. Raises HclError for what can't be included, and for clashes."""
        for number, (file, body) in enumerate(files):
            # Of two that were named, the same one counts twice.
            source = self._read(file, body, self._chain)
            self._sources[f"{number} {file.identity}"] = source
        sources = tuple(self._sources.values())
        _check_clashes(sources)
        return Gathered(sources=sources, parts=tuple(self._parts))

    def _read(self, file: File, body: Body | None, chain: tuple[str, ...]) -> Source:
        """Read what a file includes; return the file."""
        within: set[str] = set()
        chain = (*chain, file.identity)
        attribute = body.attributes.get(_NAME) if body is not None else None
        if body is not None and attribute is not None:
            others = {n: each for n, each in body.attributes.items() if n != _NAME}
            body = body._replace(attributes=others)
            for item in self._items(attribute):
                try:
                    within |= self._include(item, file, chain)
                except HclError:
                    raise
                except InputError as error:
                    raise _told(error, item.at) from error
        return Source(
            file, body, is_included=len(chain) > len(self._chain) + 1, within=frozenset(within)
        )

    def _include(self, item: _Item, file: File, chain: tuple[str, ...]) -> set[str]:
        """Take an item in; return the identities of the files that are one definition with `file` by it."""
        found, prefix = self._files(item, file)
        for each in found:
            if each.identity in chain:
                circle = (*chain[chain.index(each.identity) :], each.identity)
                raise InputError(f"include cycle: {' includes '.join(map(_shown, circle))}")
        self._shared.included += 1
        if len(chain) > _DEEPEST or self._shared.included > _MOST:
            raise InputError("the definition includes too many files, or too deep")
        if prefix or any(_is_compose(each) for each in found):
            # Services are no part of a definition in HCL, which can only refer to them.
            self._parts.append(Part(prefix, found, item.at, chain))
            return set()
        within: set[str] = set()
        for each in found:
            if each.identity not in self._sources:
                source = self._read(each, parse_body(each), chain)
                self._sources[each.identity] = source
            within |= {each.identity, *self._sources[each.identity].within}
        return within

    def _files(self, item: _Item, file: File) -> tuple[tuple[File, ...], str]:
        """Return the files of an item, and the prefix of their names, "" for none. Raises InputError."""
        if is_remote(item.path):
            return self._fetched(item, file.tree)
        path, tree = item.path, file.tree
        if tree is None and not path.startswith("cwd://"):
            path = posixpath.join(posixpath.dirname(file.name) if file.directory else "", path)
        elif tree is not None and not path.startswith("cwd://"):
            path = posixpath.join(posixpath.dirname(file.path), path)
        if not self._access.is_directory(path, tree):
            return (read_included(path, tree, self._access),), item.prefix or ""
        files = read_default(path, tree, self._access)
        return files, self._prefix(item, posixpath.basename(posixpath.normpath(path)))

    def _fetched(self, item: _Item, tree: Tree | None) -> tuple[tuple[File, ...], str]:
        self._access.check_address(item.path, tree)
        found = self._shared.fetched.get(item.path) or self._access.fetch(item.path)
        self._shared.fetched[item.path] = found
        files = read_remote(found, ())
        if isinstance(found, RemoteFile):
            return files, item.prefix or ""
        if not files:
            raise InputError(f"no bake file in {item.path}")
        files = tuple(replace(each, name=f"{item.path} {each.path}") for each in files)
        before, _, fragment = item.path.partition("#")
        name = fragment.partition(":")[2] or before.partition("?")[0]
        name = posixpath.basename(name.rstrip("/"))
        return files, self._prefix(item, name.partition(".")[0] or name)

    @staticmethod
    def _prefix(item: _Item, name: str) -> str:
        if item.prefix is not None:
            return item.prefix
        found = _ODD.sub("_", name).strip("_")
        if not found:
            raise InputError(
                f"no prefix follows from {item.path}", hint='name one: { path = "…", prefix = "…" }'
            )
        return found

    # --- what is written ---

    def _items(self, attribute: Attribute) -> list[_Item]:
        at = attribute.expression.at
        try:
            value = evaluate(attribute.expression, self._scope)
        except HclError as error:
            error.hint = "what is included is read before variables and targets are known"
            raise
        if value.type.kind not in {Kind.LIST, Kind.TUPLE, Kind.SET} or value.is_null:
            raise HclError("Invalid include", "A list of paths and addresses is required.", at)
        written = attribute.expression
        items = written.items if isinstance(written, Tuples) else ()
        places = [each.at for each in items] or [at] * len(value.raw)
        return [self._item(each, place) for each, place in zip(value.raw, places, strict=True)]

    @staticmethod
    def _item(value: Value, at: Range) -> _Item:
        fields: dict[str, Value] = {"path": value}
        if value.type.kind in {Kind.OBJECT, Kind.MAP} and not value.is_null:
            fields = dict(value.raw)
        for name, each in fields.items():
            if name not in _FIELDS:
                near = suggestion(name, _FIELDS)
                raise HclError("Invalid include", f"There is no field {quote(name)}{near}.", at)
            if each.is_null or each.type.kind is not Kind.STRING:
                raise HclError("Invalid include", f"Its {name} must be a text.", at)
        path = fields.get("path")
        if path is None or not path.raw:
            raise HclError("Invalid include", "A path or an address is missing.", at)
        prefix = fields.get("prefix")
        if prefix is not None and _ODD.search(prefix.raw):
            detail = f"The prefix {quote(prefix.raw)} has characters other than [a-zA-Z0-9_-]."
            raise HclError("Invalid include", detail, at)
        return _Item(path.raw, None if prefix is None else prefix.raw, at)


def _is_compose(file: File) -> bool:
    return file.name.lower().endswith((".yml", ".yaml"))


def _shown(identity: str) -> str:
    relative = posixpath.relpath(identity) if identity.startswith("/") else identity
    return identity if relative.startswith("../..") else relative


def _told(error: InputError, at: Range) -> BakeFileError:
    """Return an error with the place of what is included."""
    if error.place is not None:
        return BakeFileError(f"{error}", hint=error.hint, place=error.place)
    told = HclError("Invalid include", str(error), at)
    told.hint = error.hint
    return told


def _check_clashes(sources: Sequence[Source]) -> None:
    """Raise HclError if two files define one name, of which neither includes the other."""
    defined: dict[tuple[str, str], list[tuple[Source, Block]]] = {}
    for source in sources:
        for block in source.body.blocks if source.body is not None else ():
            if block.type in {"target", "group", "function"} and block.labels:
                before = defined.setdefault((block.type, block.labels[0]), [])
                for other, first in before:
                    _check_pair((other, first), (source, block))
                before.append((source, block))


def _check_pair(one: tuple[Source, Block], other: tuple[Source, Block]) -> None:
    (first, before), (second, block) = one, other
    is_same = first.file.identity == second.file.identity
    is_named = not first.is_included and not second.is_included
    if is_same or is_named or first.file.identity in second.within:
        return
    if not second.is_included:
        return  # what was named has the last word over all that is included
    detail = f"It is defined at {before.head.source.name}:{before.head.line} already, and neither file includes the other."
    error = HclError(
        f"Two definitions of {block.type} {quote(block.labels[0])}", detail, block.head
    )
    error.hint = 'include one of the files with a prefix: { path = "…", prefix = "…" }'
    raise error
