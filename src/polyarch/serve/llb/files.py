"""File ops of LLB: changes to one tree, one after the other."""

from __future__ import annotations

from collections.abc import Callable

from polyarch.errors import InputError
from polyarch.graph.op import CopyAction, FileAction, FileOp, MkdirAction, MkfileAction
from polyarch.graph.vertex import Vertex
from polyarch.serve.llb.definition import Op
from polyarch.wire import Message

__all__ = ["read_files"]

_COPY, _MKFILE, _MKDIR, _RM, _SYMLINK = range(4, 9)
_NANO = 1_000_000_000

TakeInput = Callable[[int], Vertex]


def read_files(op: Op, output: int, take: TakeInput) -> tuple[FileOp, tuple[Vertex, ...]]:
    """Return the op and its inputs, the tree that is changed first. Raises InputError for what can't be done."""
    count = len(op.inputs)
    actions = list(op.message.messages(2))
    if not actions:
        raise InputError("a file op has no actions")
    # Actions may use one another's results in any order; those of all libraries follow one another.
    for number, action in enumerate(actions):
        is_last = number == len(actions) - 1
        if (number and action.integer(1) != count + number - 1) or (
            is_last and action.integer(3) != output
        ):
            raise InputError(
                "actions of a file op that don't follow one another aren't supported yet",
                hint="make a file op of each",
            )
    inputs = [take(actions[0].integer(1))]

    def source(number: int) -> int:
        if number >= count:
            raise InputError("copies of what the same file op makes aren't supported yet")
        vertex = take(number)
        if vertex not in inputs[1:]:
            inputs.append(vertex)
        return inputs.index(vertex, 1)

    found = tuple(_action(each, source) for each in actions)
    return FileOp(actions=found), tuple(inputs)


def _action(message: Message, source: Callable[[int], int]) -> FileAction:
    if message.all(_COPY):
        return _copy(Message(message.bytes(_COPY)), source(message.integer(2)))
    if message.all(_MKFILE):
        told = Message(message.bytes(_MKFILE))
        return MkfileAction(
            path=told.text(1),
            name=told.text(1).rpartition("/")[2],
            data=told.bytes(3).decode("utf-8", "surrogateescape"),
            mode=f"{told.integer(2) & 0o7777:o}",
            owner=_owner(Message(told.bytes(4))),
            created=_created(told, 5),
        )
    if message.all(_MKDIR):
        told = Message(message.bytes(_MKDIR))
        return MkdirAction(
            path=told.text(1),
            mode=told.integer(2) & 0o7777,
            owner=_owner(Message(told.bytes(4))),
            created=_created(told, 5),
        )
    name = "rm" if message.all(_RM) else "symlink" if message.all(_SYMLINK) else "unknown"
    raise InputError(f"the action {name} of a file op isn't supported yet", hint="use an exec op")


def _copy(told: Message, number: int) -> CopyAction:
    """Return a copy: as COPY makes it, or of just what the source is."""
    if told.all(12):
        raise InputError("copies with include patterns aren't supported yet")
    follows, takes_contents, has_wildcards = (bool(told.integer(each)) for each in (5, 6, 9))
    is_plain = not (follows or takes_contents or has_wildcards)
    if not is_plain and not (takes_contents or has_wildcards):
        raise InputError("copies that follow links, but take no patterns, aren't supported yet")
    mode = told.integer(4)
    return CopyAction(
        input=number,
        sources=(told.text(1),),
        destination=told.text(2),
        owner=_owner(Message(told.bytes(3))),
        mode=told.text(15) or (f"{mode & 0o7777:o}" if mode != -1 else ""),
        keep_owner=not told.all(3),
        unpack=bool(told.integer(7)),
        is_literal=is_plain,
        exclude=told.texts(13),
        created=_created(told, 11),
    )


def _created(told: Message, number: int) -> int | None:
    moment = told.integer(number)
    return None if moment == -1 else moment // _NANO


def _owner(told: Message) -> str:
    """Return an owner as `--chown` has it, "" for none."""
    if not told.all(1) and not told.all(2):
        return ""
    return f"{_user(Message(told.bytes(1)))}:{_user(Message(told.bytes(2)))}"


def _user(told: Message) -> str:
    return Message(told.bytes(1)).text(1) if told.all(1) else str(told.integer(2))
