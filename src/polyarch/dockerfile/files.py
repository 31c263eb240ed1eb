"""Lowering COPY and ADD to file ops."""

from __future__ import annotations

import posixpath

from polyarch.dockerfile.context import Lowering, expand_in
from polyarch.dockerfile.expand import HEREDOC, expand
from polyarch.dockerfile.instruction import Add, Copy
from polyarch.dockerfile.lexer import Heredoc
from polyarch.dockerfile.stage import StageState
from polyarch.dockerfile.stages import find_copy_source
from polyarch.errors import DockerfileError
from polyarch.graph.op import (
    CopyAction,
    FileAction,
    FileOp,
    MergeOp,
    MkfileAction,
    ScratchOp,
)
from polyarch.graph.vertex import Vertex

__all__ = ["lower_copy"]

_REMOTE = ("http://", "https://", "git://", "ssh://", "git@")


def lower_copy(state: StageState, instruction: Copy | Add, lowering: Lowering) -> None:
    """Add the vertex of a COPY or an ADD, and its history entry."""
    _refuse_unsupported(instruction)
    sources = [expand_in(state, each, instruction, lowering) for each in instruction.sources]
    destination = expand_in(state, instruction.destination, instruction, lowering)
    owner = expand_in(state, instruction.chown, instruction, lowering)
    mode = expand_in(state, instruction.chmod, instruction, lowering)
    path = _destination_path(state, destination)
    actions: list[FileAction] = [
        MkfileAction(
            path=path,
            name=document.name,
            data=_content(document, state),
            mode=mode,
            owner=owner,
            created=lowering.options.epoch,
        )
        for document in instruction.contents
    ]
    inputs: tuple[Vertex, ...] = (state.vertex,)
    if sources:
        name, index = "", None
        if isinstance(instruction, Copy):
            name = instruction.from_name
            index = find_copy_source(lowering.written, instruction) if name else None
            _check_order(state, index, instruction)
        source, is_context = lowering.source(state, name, index, instruction.location)
        inputs = (state.vertex, source)
        actions.append(
            CopyAction(
                input=1,
                sources=tuple(sources),
                destination=path,
                owner=owner,
                mode=mode,
                keep_owner=not is_context,
                unpack=isinstance(instruction, Add) and instruction.unpack is not False,
                parents=isinstance(instruction, Copy) and instruction.parents,
                exclude=tuple(instruction.exclude),
                created=lowering.options.epoch,
            )
        )
    text = " ".join(instruction.text.split())
    # With a mode BuildKit doesn't link either: the copy isn't independent of what is below.
    if instruction.link and not mode:
        _check_linked_owner(owner, instruction)
        scratch = lowering.maker.add(ScratchOp())
        op = FileOp(actions=tuple(actions))
        linked = lowering.add(state, op, (scratch, *inputs[1:]), text, instruction)
        state.step -= 1
        merged = (state.vertex, linked)
        state.vertex = lowering.add(state, MergeOp(), merged, f"LINK {text}", instruction)
    else:
        op = FileOp(actions=tuple(actions))
        state.vertex = lowering.add(state, op, inputs, text, instruction)
    state.record(_history(instruction, sources, destination, (owner, mode)), layer=True)


def _check_order(state: StageState, index: int | None, instruction: Copy) -> None:
    if index is not None and index >= state.index:
        raise DockerfileError(
            f'cannot copy from stage "{instruction.from_name}", '
            "it needs to be defined before current stage",
            hint="move that stage up",
            place=instruction.location,
        )


def _check_linked_owner(owner: str, instruction: Copy | Add) -> None:
    """Refuse names: a linked copy has no passwd file to look them up in."""
    if not all(part.isascii() and part.isdigit() for part in owner.split(":") if part):
        raise DockerfileError(
            "invalid user index: -1",
            hint=f"{instruction.name} --link knows numbers only, not the names in {owner!r}",
            place=instruction.location,
        )


def _refuse_unsupported(instruction: Copy | Add) -> None:
    refused = ""
    if isinstance(instruction, Add):
        remote = [each for each in instruction.sources if each.startswith(_REMOTE)]
        refused = (
            f"ADD of {remote[0]}" if remote else "ADD --checksum" if instruction.checksum else ""
        )
    if refused:
        raise DockerfileError(
            f"{refused} can't be carried out yet",
            hint="take it out, or copy from the build context instead",
            place=instruction.location,
        )


def _destination_path(state: StageState, destination: str) -> str:
    """Return the absolute destination; a trailing slash says that it is a folder."""
    destination = state.posix(destination)
    path = posixpath.normpath(posixpath.join(state.workdir, destination))
    path = "/" + path.lstrip("/")
    is_folder = destination in ("", ".") or destination.endswith(("/", "/."))
    return path + "/" if is_folder and path != "/" else path


def _content(document: Heredoc, state: StageState) -> str:
    if not document.expand:
        return document.body
    return expand(document.body, state.variables, mode=HEREDOC)


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
