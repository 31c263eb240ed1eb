"""Lowering COPY and ADD to file ops."""

from __future__ import annotations

import posixpath

from polyarch.dockerfile.expand.expand import HEREDOC
from polyarch.dockerfile.lowering.lowering import Lowering, expand_in
from polyarch.dockerfile.lowering.remote import remote_op
from polyarch.dockerfile.lowering.state import StageState
from polyarch.dockerfile.lowering.targets import find_copy_source
from polyarch.dockerfile.syntax.instruction import Add, Copy, Instruction
from polyarch.dockerfile.syntax.lexer import Heredoc
from polyarch.errors import DockerfileError, InputError
from polyarch.golang.strconv import quote
from polyarch.graph.op import (
    CopyAction,
    FileAction,
    FileOp,
    GitOp,
    HttpOp,
    MergeOp,
    MkfileAction,
    ScratchOp,
)
from polyarch.graph.vertex import Vertex
from polyarch.pattern import pattern
from polyarch.record import field, mutable, replace
from polyarch.text.ignore import clean_path
from polyarch.text.owner import has_names

__all__ = ["check_owner", "lower_copy"]

_LOGIN = pattern(r"//[^/@]*@")


def lower_copy(state: StageState, instruction: Copy | Add, lowering: Lowering) -> None:
    """Add the vertex of a COPY or an ADD, and its history entry."""
    sources = [expand_in(state, each, instruction, lowering) for each in instruction.sources]
    destination = expand_in(state, instruction.destination, instruction, lowering)
    owner = expand_in(state, instruction.chown, instruction, lowering)
    mode = expand_in(state, instruction.chmod, instruction, lowering)
    # With a mode BuildKit doesn't link either: the copy isn't independent of what is below.
    is_linked = instruction.link and not mode
    check_owner(owner, instruction, is_scratch=is_linked or isinstance(state.vertex.op, ScratchOp))
    _check_mode(mode, instruction)
    copies = _Copies(
        state=state,
        instruction=instruction,
        lowering=lowering,
        template=CopyAction(
            input=0,
            sources=(),
            destination=_destination_path(state, destination),
            owner=owner,
            mode=mode,
            parents=isinstance(instruction, Copy) and instruction.parents,
            exclude=tuple(instruction.exclude),
            created=lowering.options.epoch,
        ),
    )
    copies.add(sources)
    copies.add_documents()
    inputs = (state.vertex, *copies.inputs)
    op = FileOp(actions=tuple(copies.actions))
    text = instruction.text
    if is_linked:
        scratch = lowering.maker.add(ScratchOp())
        linked = lowering.add(state, op, (scratch, *inputs[1:]), text, instruction)
        state.step -= 1
        merged = (state.vertex, linked)
        state.vertex = lowering.add(state, MergeOp(), merged, f"LINK {text}", instruction)
    else:
        state.vertex = lowering.add(state, op, inputs, text, instruction)
    state.record(_history(instruction, sources, destination, (owner, mode)), layer=True)


@mutable
class _Copies:
    """The actions of one COPY or ADD while they are gathered, and the inputs that they read.

    `template` holds what all of them have in common.
    """

    state: StageState
    instruction: Copy | Add
    lowering: Lowering
    template: CopyAction
    actions: list[FileAction] = field(default_factory=list)
    inputs: list[Vertex] = field(default_factory=list)

    def add(self, sources: list[str]) -> None:
        """Copy sources, in their order; neighbours from one place are one action."""
        checksum = self._checksum(sources)
        paths: list[str] = []
        for source in sources:
            op = remote_op(source, self.instruction, checksum)
            if op is None:
                paths.append(source)
                continue
            self._add_paths(paths)
            paths = []
            self._add_remote(op, source)
        self._add_paths(paths)

    def _checksum(self, sources: list[str]) -> str:
        instruction = self.instruction
        if not isinstance(instruction, Add) or not instruction.checksum:
            return ""
        checksum = expand_in(self.state, instruction.checksum, instruction, self.lowering)
        problem = ""
        if len(sources) != 1:
            problem = "checksum can't be specified for multiple sources"
        elif remote_op(sources[0], instruction, checksum) is None:
            problem = "checksum requires HTTP(S) or Git sources"
        if problem:
            raise DockerfileError(problem, place=instruction.location)
        return checksum

    def _add_paths(self, paths: list[str]) -> None:
        if not paths:
            return
        instruction = self.instruction
        name, index = "", None
        if isinstance(instruction, Copy):
            name = instruction.from_name
            index = find_copy_source(self.lowering.written, instruction) if name else None
            _check_order(self.state, index, instruction)
        source, is_context = self.lowering.source(self.state, name, index, instruction.location)
        ignores = self.lowering.options.ignores
        if not name and ignores is not None:
            for path in filter(ignores, map(clean_path, paths)):
                self.lowering.lint.ignored_source(instruction, path)
        unpack = isinstance(instruction, Add) and instruction.unpack is not False
        action = replace(
            self.template, sources=tuple(paths), keep_owner=not is_context, unpack=unpack
        )
        self._put(action, source)

    def _add_remote(self, op: HttpOp | GitOp, address: str) -> None:
        is_file = isinstance(op, HttpOp)
        if not isinstance(self.instruction, Add):
            kind = "URL" if is_file else "git ref"
            raise DockerfileError(
                f"source can't be a {kind} for COPY",
                hint="use ADD",
                place=self.instruction.location,
            )
        action = replace(
            self.template,
            sources=(op.filename if isinstance(op, HttpOp) else "/",),
            is_literal=True,
            keep_owner=True,
            unpack=is_file and self.instruction.unpack is True,
        )
        shown = _LOGIN.sub("//", address)
        vertex = self.lowering.maker.add(op, name=shown, location=self.instruction.location)
        self._put(action, vertex)

    def _put(self, action: CopyAction, source: Vertex) -> None:
        if source not in self.inputs:
            self.inputs.append(source)
        self.actions.append(replace(action, input=1 + self.inputs.index(source)))

    def add_documents(self) -> None:
        """Write the here-documents."""
        common = self.template
        for document in self.instruction.contents:
            self.actions.append(
                MkfileAction(
                    path=common.destination,
                    name=_document_name(document, self.instruction),
                    data=self._content(document),
                    mode=common.mode,
                    owner=common.owner,
                    created=common.created,
                )
            )

    def _content(self, document: Heredoc) -> str:
        if not document.expand:
            return document.body
        return expand_in(self.state, document.body, self.instruction, self.lowering, HEREDOC)


def _document_name(document: Heredoc, instruction: Instruction) -> str:
    """Return the name of a here-document's file. Raises DockerfileError if it would need a directory."""
    name = posixpath.normpath(f"/{document.name}").lstrip("/")
    if not name or "/" in name:
        raise DockerfileError(
            f"can't write a file for the here-document {document.name!r}: no such directory",
            hint="the word behind << is the file's name: one without slashes",
            place=instruction.location,
        )
    return name


def _check_order(state: StageState, index: int | None, instruction: Copy) -> None:
    if index is not None and index >= state.index:
        raise DockerfileError(
            f"cannot copy from stage {quote(instruction.from_name)}, it needs to be defined before "
            f"current stage {quote(state.stage.name or f'stage-{state.index}')}",
            hint="move that stage up",
            place=instruction.location,
        )


def check_owner(owner: str, instruction: Instruction, *, is_scratch: bool) -> None:
    """Refuse names where there is no root file system to look them up in. Raises DockerfileError."""
    if is_scratch and has_names(owner):
        raise DockerfileError(
            "invalid user index: -1",
            hint=f"there are no users to look {owner!r} up in: neither an image without files nor "
            "--link has any; give numbers",
            place=instruction.location,
        )


def _check_mode(mode: str, instruction: Instruction) -> None:
    if not mode:
        return
    from polyarch.text.filemode import parse_mode  # noqa: PLC0415 - most copies have none

    try:
        parse_mode(mode)
    except InputError as error:
        raise DockerfileError(str(error), hint=error.hint, place=instruction.location) from error


def _destination_path(state: StageState, destination: str) -> str:
    """Return the absolute destination; a trailing slash says that it is a directory."""
    destination = state.posix(destination)
    path = posixpath.normpath(posixpath.join(state.workdir, destination))
    path = "/" + path.lstrip("/")
    is_directory = destination in ("", ".") or destination.endswith(("/", "/."))
    return path + "/" if is_directory and path != "/" else path


def _history(
    instruction: Copy | Add, sources: list[str], destination: str, flags: tuple[str, str]
) -> str:
    words = [instruction.name]
    owner, mode = flags
    if isinstance(instruction, Copy) and instruction.parents:
        words.append("--parents")
    if owner:
        words.append(f"--chown={owner}")
    if mode:
        words.append(f"--chmod={mode}")
    words += sources
    words += [f"<<{document.name}" for document in instruction.contents]
    return " ".join([*words, destination, "# buildkit"])
