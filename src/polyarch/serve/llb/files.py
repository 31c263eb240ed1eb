"""File ops of LLB: changes to trees, each of which may use what another one has made.

Those that follow one another become one op of ours, and one layer; what a copy takes from the same op is another one.
"""

from __future__ import annotations

from collections.abc import Callable

from polyarch.buildkit.llb.numbers import COPY, MKDIR, MKFILE, RM, SYMLINK
from polyarch.errors import InputError, IntegrityError
from polyarch.graph.actions import (
    CopyAction,
    FileAction,
    Manner,
    MkdirAction,
    MkfileAction,
    RmAction,
    SymlinkAction,
)
from polyarch.graph.op import FileOp
from polyarch.graph.vertex import Vertex
from polyarch.record import field, frozen
from polyarch.serve.llb.definition import Op
from polyarch.wire import Message

__all__ = ["FilesReader"]

_NANO = 1_000_000_000

TakeInput = Callable[[int], Vertex]
Add = Callable[[FileOp, tuple[Vertex, ...]], Vertex]


@frozen
class FilesReader:
    """Reads one file op; `take` gives its inputs, -1 an empty tree, and `add` makes vertices."""

    op: Op
    take: TakeInput
    add: Add
    _made: dict[int, Vertex] = field(default_factory=dict)

    def read(self, output: int) -> Vertex:
        """Return the vertex of an output. Raises InputError, IntegrityError."""
        actions = self._actions()
        wanted = [number for number, each in enumerate(actions) if each.integer(3) == output]
        if not wanted:
            raise IntegrityError(f"a file op has no output {output}")
        return self._result(wanted[-1])

    def _actions(self) -> list[Message]:
        return list(self.op.message.messages(2))

    def _result(self, number: int) -> Vertex:
        """Return the vertex of what an action has made."""
        if number not in self._made:
            self._made[number] = self._chain(number)
        return self._made[number]

    def _chain(self, last: int) -> Vertex:
        """Make a vertex of an action and all those that it goes on."""
        actions, count = self._actions(), len(self.op.inputs)
        chain = [last]
        while (base := actions[chain[0]].integer(1)) >= count:
            if base - count >= chain[0]:
                raise IntegrityError("an action of a file op goes on a later one")
            chain.insert(0, base - count)
        inputs = [self.take(base)]

        def source(action: int, number: int) -> int:
            if number - count >= action:
                raise IntegrityError("an action of a file op copies from a later one")
            vertex = self._result(number - count) if number >= count else self.take(number)
            if vertex not in inputs[1:]:
                inputs.append(vertex)
            return inputs.index(vertex, 1)

        found = []
        for number in chain:
            action = actions[number]
            is_copy = bool(action.all(COPY))
            found.append(_action(action, source(number, action.integer(2)) if is_copy else -1))
        return self.add(FileOp(actions=tuple(found)), tuple(inputs))


def _action(message: Message, source: int) -> FileAction:
    """Return an action; `source` is the number of the input that a copy takes from."""
    readers: dict[int, Callable[[Message], FileAction]] = {
        COPY: lambda told: _copy(told, source),
        MKFILE: _file,
        MKDIR: _directory,
        RM: _removal,
        SYMLINK: _link,
    }
    for number, read in readers.items():
        if message.all(number):
            return read(Message(message.bytes(number)))
    raise InputError("a file op has an action that isn't known here", hint="use an exec op")


def _file(told: Message) -> MkfileAction:
    return MkfileAction(
        path=_rooted(told.text(1)),
        name=told.text(1).rpartition("/")[2],
        data=told.bytes(3).decode("utf-8", "surrogateescape"),
        mode=f"{told.integer(2) & 0o777:o}",
        owner=_owner(Message(told.bytes(4))),
        created=_created(told, 5),
        is_exact=True,
    )


def _directory(told: Message) -> MkdirAction:
    return MkdirAction(
        path=_rooted(told.text(1)),
        mode=told.integer(2) & 0o777,
        owner=_owner(Message(told.bytes(4))),
        created=_created(told, 5),
        makes_parents=bool(told.integer(3)),
    )


def _removal(told: Message) -> RmAction:
    return RmAction(
        path=told.text(1),
        may_be_missing=bool(told.integer(2)),
        has_patterns=bool(told.integer(3)),
    )


def _link(told: Message) -> SymlinkAction:
    return SymlinkAction(
        target=told.text(1),
        path=_rooted(told.text(2)),
        owner=_owner(Message(told.bytes(3))),
        created=_created(told, 4),
    )


_USUAL = Manner(follows_links=True, takes_contents=True, has_patterns=True)


def _copy(told: Message, number: int) -> CopyAction:
    """Return a copy: as COPY makes it, or in another manner."""
    manner = Manner(
        follows_links=bool(told.integer(5)),
        takes_contents=bool(told.integer(6)),
        has_patterns=bool(told.integer(9)),
        dates=_created(told, 11) is not None,
    )
    is_usual = manner == _USUAL
    mode = told.integer(4)
    return CopyAction(
        input=number,
        sources=(told.text(1),),
        destination=_rooted(told.text(2)),
        owner=_owner(Message(told.bytes(3))),
        mode=told.text(15) or (f"{mode & 0o7777:o}" if mode != -1 else ""),
        keep_owner=not told.all(3),
        unpack=bool(told.integer(7)),
        exclude=told.texts(13),
        created=_created(told, 11),
        manner=None if is_usual else manner,
        include=told.texts(12),
        required=told.texts(16) if told.all(12) else (),
        replaces=bool(told.integer(14)),
        makes_parents=bool(told.integer(8)),
        may_be_empty=bool(told.integer(10)) or not manner.has_patterns,
    )


def _rooted(path: str) -> str:
    return path if path.startswith("/") else f"/{path}"


def _created(told: Message, number: int) -> int | None:
    moment = told.integer(number)
    return None if moment == -1 else moment // _NANO


def _owner(told: Message) -> str:
    """Return an owner as `--chown` has it, "" for none."""
    user, group = (_user(Message(told.bytes(each))) if told.all(each) else "" for each in (1, 2))
    # A group that isn't given is the user's, and a user is root.
    return f"{user or 0}:{group}" if group else user


def _user(told: Message) -> str:
    return Message(told.bytes(1)).text(1) if told.all(1) else str(told.integer(2))
