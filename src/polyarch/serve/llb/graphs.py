"""A definition -> vertices of a graph of ours."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from polyarch.buildkit.llb.numbers import BUILD, DIFF, EXEC, FILE, MERGE, PASSTHROUGH, SOURCE
from polyarch.buildkit.messages import read_pairs
from polyarch.digest import Digest
from polyarch.dockerfile.lowering.lowering import BaseImages
from polyarch.dockerfile.lowering.remote import git_op
from polyarch.errors import InputError, IntegrityError
from polyarch.golang.json import read_json
from polyarch.golang.strconv import parse_int, parse_uint
from polyarch.graph.graph import GraphMaker
from polyarch.graph.op import (
    CopyAction,
    DiffOp,
    FileOp,
    GitOp,
    HttpOp,
    ImageOp,
    LocalOp,
    MergeOp,
    OutputOp,
    ScratchOp,
    SymlinkAction,
)
from polyarch.graph.vertex import Vertex
from polyarch.oci.base import IMAGE_SCHEME, LAYOUT_SCHEME
from polyarch.oci.reference import parse as parse_reference
from polyarch.platforms import Platform
from polyarch.record import field, frozen, replace
from polyarch.serve.llb.definition import (
    RESULT_SCHEME,
    Definition,
    Input,
    Op,
)
from polyarch.serve.llb.execs import ExecReader, TakeInput
from polyarch.serve.llb.files import FilesReader
from polyarch.serve.receiving import Wanted
from polyarch.text.giturl import parse_git_reference
from polyarch.wire import Message

__all__ = ["Locals", "Lowering", "as_it_is", "read_git", "read_http"]

_KINDS = {BUILD: "build"}
_HEADERS = ("Accept", "User-Agent")
"""Those of a graph that are sent; others don't count, as with BuildKit."""
_LOCAL = "local://"

Replaced = Callable[[str, Mapping[str, str], Platform], tuple[str, Mapping[str, str]]]
"""From a source's identifier, attributes and platform to those that are used. Raises InputError for what may not be."""

Locals = dict[str, Wanted]
"""What is wanted of directories of the client, by the names of local ops."""


def as_it_is(
    identifier: str, attributes: Mapping[str, str], _platform: Platform
) -> tuple[str, Mapping[str, str]]:
    """Replace nothing."""
    return identifier, attributes


@frozen
class Lowering:
    """Makes vertices of one definition; `found` collects the local directories that they read, `required` what is built beside.

    `pins` are the digests of files of web servers that the client was told of: it gets those, whatever is there by now.
    `replaced` says what a source is to be, where somebody has a say in it.
    `bring_layout` makes an address here of a layout of the client's, by its address and its store there, and
    `bring_result` of what was promised, by its ref.
    """

    definition: Definition
    maker: GraphMaker
    images: BaseImages
    bring_layout: Callable[[str, str], str]
    bring_result: Callable[[str], str]
    execs: ExecReader
    found: Locals = field(default_factory=dict)
    pins: Mapping[str, str] = field(default_factory=dict)
    required: dict[Vertex, None] = field(default_factory=dict)
    replaced: Replaced = as_it_is
    _made: dict[Input, Vertex] = field(default_factory=dict, repr=False)
    _used: dict[Digest, set[int]] = field(default_factory=dict, repr=False)

    def lower(self) -> Vertex:
        """Return the vertex of what the definition is for, one with layers even if that is a source. Raises InputError."""
        wanted = self.definition.wanted
        self._used.update(self.definition.used())
        return self._scratch() if wanted is None else self._layers(self._take(wanted))

    def _take(self, wanted: Input) -> Vertex:
        if wanted not in self._made:
            order = self._order(wanted)
            for each in order:
                self._made[each] = self._make(self.definition.ops[each.op], each.output)
        return self._made[wanted]

    def _order(self, wanted: Input) -> list[Input]:
        """Return what has to be made for an input, and that itself, in an order in which it can be."""
        order: list[Input] = []
        stack = [(wanted, False)]
        seen = set(self._made)
        while stack:
            current, is_expanded = stack.pop()
            if is_expanded:
                order.append(current)
            elif current not in seen:
                seen.add(current)
                stack.append((current, True))
                stack += [(each, False) for each in self.definition.ops[current.op].inputs]
        return order

    def _make(self, op: Op, output: int) -> Vertex:
        def take(number: int) -> Vertex:
            return self._scratch() if number < 0 else self._made[op.inputs[number]]

        def layers(number: int) -> Vertex:
            return self._layers(take(number))

        if op.kind == SOURCE:
            return self._source(op)
        if op.kind == EXEC:
            return self._exec(op, output, take, layers)
        if op.kind == FILE:
            return self._files(op, output, take)
        if op.kind == MERGE:
            numbers = [each.integer(1) for each in op.message.messages(1)]
            return self._add(op, MergeOp(), tuple(map(layers, numbers)), "merge")
        if op.kind == DIFF:
            ends = [Message(op.message.bytes(each)).integer(1) for each in (1, 2)]
            return self._add(op, DiffOp(), tuple(map(layers, ends)), "diff")
        if op.kind == PASSTHROUGH:
            outputs = op.message.integers(2)
            if not 0 <= output < len(outputs):
                raise IntegrityError(f"a passthrough op has no output {output}")
            # Inputs that aren't passed on are there to be built.
            rest = set(range(len(op.inputs))).difference(outputs)
            self.required.update((layers(number), None) for number in sorted(rest))
            return take(outputs[output])
        kind = _KINDS.get(op.kind, "unknown")
        raise InputError(f"ops of the kind {kind} aren't supported yet")

    def _exec(self, op: Op, output: int, take: TakeInput, layers: TakeInput) -> Vertex:
        used = self._used.get(op.digest, set())
        made, inputs, numbers = self.execs.read(op, used, take, layers)
        if output not in numbers:
            raise IntegrityError(f"an exec op has no output {output}")
        vertex = self._add(op, made, inputs, " ".join(made.argv))
        number = numbers[output]
        return self.maker.add(OutputOp(number=number), (vertex,)) if number else vertex

    def _files(self, op: Op, output: int, take: TakeInput) -> Vertex:
        def add(made: FileOp, inputs: tuple[Vertex, ...]) -> Vertex:
            inputs = (self._layers(inputs[0]), *inputs[1:])
            return self._add(op, made, inputs, _file_name(made))

        return FilesReader(op=op, take=take, add=add).read(output)

    def _add(self, op: Op, made: object, inputs: tuple[Vertex, ...], name: str) -> Vertex:
        return self.maker.add(
            made,  # type: ignore[arg-type]
            inputs,
            name=op.name or name,
            ignore_cache=op.ignores_cache,
            location=self.definition.locations.get(op.digest),
        )

    def _scratch(self) -> Vertex:
        return self.maker.add(ScratchOp())

    def _layers(self, vertex: Vertex) -> Vertex:
        """Return a vertex that has layers: what is read where it lies gets a copy."""
        if not isinstance(vertex.op, LocalOp | HttpOp | GitOp):
            return vertex
        copied = CopyAction(input=1, sources=("/",), destination="/")
        return self.maker.add(
            FileOp(actions=(copied,)), (self._scratch(), vertex), name=f"copy {vertex.name}"
        )

    def _source(self, op: Op) -> Vertex:
        identifier = op.message.text(1)
        attributes: Mapping[str, str] = read_pairs(op.message, 2)
        if not identifier.startswith(RESULT_SCHEME):
            identifier, attributes = self.replaced(identifier, attributes, op.platform)
        if identifier.startswith(IMAGE_SCHEME):
            name = parse_reference(identifier.removeprefix(IMAGE_SCHEME)).canonical
            return self._image(op, name, attributes)
        if identifier.startswith(LAYOUT_SCHEME):
            store = attributes.get("oci.store", "")
            return self._image(op, self.bring_layout(identifier, store))
        if identifier.startswith(RESULT_SCHEME):
            return self._image(op, self.bring_result(identifier.removeprefix(RESULT_SCHEME)))
        if identifier.startswith(_LOCAL):
            return self._local(op, identifier.removeprefix(_LOCAL), attributes)
        if identifier.startswith("git://"):
            return self._git(op, identifier, attributes)
        if identifier.startswith(("http://", "https://")):
            return self._file(op, identifier, attributes)
        raise InputError(f"sources like {identifier} aren't supported yet")

    def _file(self, op: Op, url: str, attributes: Mapping[str, str]) -> Vertex:
        pinned = {"http.checksum": self.pins[url]} if url in self.pins else {}
        made = read_http(url, {**pinned, **attributes})
        vertex = self._add(op, made, (), url)
        mode, uid, gid = (attributes.get(f"http.{each}", "") for each in ("perm", "uid", "gid"))
        if not (mode or uid or gid):
            return vertex
        # In its own tree a file is root's; so it gets one in which it isn't.
        copied = CopyAction(
            input=1,
            sources=(made.filename,),
            destination=f"/{made.filename}",
            owner=f"{uid or 0}:{gid or 0}",
            mode=f"{_mode(mode):o}" if mode else "",
            is_literal=True,
        )
        return self.maker.add(
            FileOp(actions=(copied,)), (self._scratch(), vertex), name=f"copy {url}"
        )

    def _image(self, op: Op, name: str, attributes: Mapping[str, str] | None = None) -> Vertex:
        image, told = self.images.resolve(name, op.platform), attributes or {}
        wanted = told.get("image.checksum", "")
        if wanted and wanted not in {image.root, image.digest}:
            raise IntegrityError(
                f"image digest {image.root or image.digest} for {name} does not match expected checksum {wanted}"
            )
        made = ImageOp.of(image, op.platform)
        if limit := told.get("image.layerlimit", ""):
            count = parse_int(limit)
            if count <= 0:
                raise InputError(f"invalid layer limit {limit}")
            made = replace(made, diff_ids=made.diff_ids[:count], blobs=made.blobs[:count])
        return self._add(op, made, (), f"{IMAGE_SCHEME}{name}")

    def _local(self, op: Op, name: str, attributes: Mapping[str, str]) -> Vertex:
        wanted = Wanted(
            name=name,
            includes=_texts(attributes.get("local.includepattern", "")),
            excludes=_texts(attributes.get("local.excludepatterns", "")),
            follow=_texts(attributes.get("local.followpaths", "")),
        )
        digest = hashlib.sha256(repr(wanted).encode()).hexdigest()[:16]
        key = f"{name}@{digest}"
        self.found[key] = wanted
        return self._add(op, LocalOp(name=key, source=name), (), f"{_LOCAL}{name}")

    def _git(self, op: Op, identifier: str, attributes: Mapping[str, str]) -> Vertex:
        return self._add(op, read_git(identifier, attributes), (), identifier)


def read_http(url: str, attributes: Mapping[str, str]) -> HttpOp:
    """Read a source that is a file of a web server. Raises InputError."""
    if any(name.startswith("http.sig.") for name in attributes):
        raise InputError("signatures of files of web servers aren't verified yet")
    return HttpOp(
        url=url,
        filename=attributes.get("http.filename") or url.rstrip("/").rpartition("/")[2],
        checksum=attributes.get("http.checksum", ""),
        headers=tuple(
            (name, attributes[key])
            for name in _HEADERS
            if (key := f"http.header.{name.lower()}") in attributes
        ),
        auth_secret=attributes.get("http.authheadersecret", ""),
    )


def read_git(identifier: str, attributes: Mapping[str, str]) -> GitOp:
    """Read a source that is a commit. Raises InputError."""
    address, _, fragment = identifier.partition("#")
    full = attributes.get("git.fullurl") or address.replace("git://", "https://", 1)
    reference = parse_git_reference(f"{full}#{fragment}" if fragment else full)
    if reference is None:
        raise InputError(f"{full} isn't the address of a repository")
    made = git_op(reference, keep_git_dir=attributes.get("git.keepgitdir") == "true")
    return replace(
        made,
        checksum=attributes.get("git.checksum", "") or made.checksum,
        submodules=made.submodules and attributes.get("git.skipsubmodules") != "true",
        mtime=attributes.get("git.mtime", "") or made.mtime,
        fetch_by_commit=attributes.get("git.fetchbycommit") == "true" or made.fetch_by_commit,
    )


def _mode(text: str) -> int:
    """Read a mode as Go's numbers are written: octal with a leading 0."""
    return parse_uint(text, base=8 if text.startswith("0") else 10)


def _texts(text: str) -> tuple[str, ...]:
    """Read a list of texts in JSON, as attributes hold it."""
    found = read_json(text) if text else []
    return tuple(map(str, found)) if isinstance(found, list) else ()


def _file_name(op: FileOp) -> str:
    """Return what a file op is called that has no name."""
    names = []
    for action in op.actions:
        if isinstance(action, CopyAction):
            names.append(f"copy {' '.join(action.sources)} {action.destination}")
        elif isinstance(action, SymlinkAction):
            names.append(f"symlink {action.target} -> {action.path}")
        else:
            kind = type(action).__name__.removesuffix("Action").lower()
            names.append(f"{kind} {action.path}")
    return ", ".join(names)
