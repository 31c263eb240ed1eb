"""File ops as LLB: each action goes on what the one before it has made.

A here-document is a file in a tree of its own, which is copied to its place, as BuildKit's frontend has it.

Source: BuildKit's `dockerfile2llb/convert_copy.go`, for what COPY and ADD mean.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from polyarch.buildkit.llb.numbers import COPY, FILE, MKDIR, MKFILE, RM, SYMLINK
from polyarch.buildkit.llb.writing import (
    NOTHING,
    Made,
    Output,
    Written,
    moment,
    owner_bytes,
)
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
from polyarch.record import frozen
from polyarch.text.filemode import parse_mode
from polyarch.text.wildcard import has_wildcards
from polyarch.wire import field, present

__all__ = ["document_op", "documents_of", "files_op"]

_DOCUMENT_MODE = 0o644
_OF_COPY = Manner(follows_links=True, takes_contents=True, has_patterns=True)
_LITERAL = Manner()

Told = tuple[int, bytes, int]
"""An action: the number of its field, its message, and the number of the input that it copies from."""


def document_op(name: str, text: str, *, mode: int = _DOCUMENT_MODE) -> Written:
    """Return the op of a tree with nothing but a here-document."""
    told = field(1, f"/{name}") + field(2, mode) + field(3, _data(text)) + field(5, -1)
    return Written(kind=FILE, message=_actions([(MKFILE, told, NOTHING)], NOTHING, 0))


def documents_of(op: FileOp) -> list[MkfileAction]:
    """Return the here-documents of an op, each of which `files_op` wants as a tree."""
    return [each for each in op.actions if isinstance(each, MkfileAction) and not each.is_exact]


def files_op(
    actions: Sequence[FileAction], inputs: Sequence[Made], documents: Sequence[Output]
) -> Written:
    """Return the op of a file op; `inputs` are what the vertex's have become, `documents` those of its here-documents."""
    writer = _Writer.of(inputs, documents)
    told = [each for action in actions for each in writer.told(action)]
    return Written(
        kind=FILE,
        message=_actions(told, writer.base, len(writer.used)),
        inputs=writer.used,
        needs=frozenset(need for action in actions for need in _needs(action)),
    )


def _actions(told: Sequence[Told], base: int, count: int) -> bytes:
    """Return actions one behind the other, of an op that has `count` inputs; only what the last one makes is a result."""
    last = len(told) - 1
    return b"".join(
        field(
            2,
            field(1, base if number == 0 else count + number - 1)
            + field(2, source)
            + field(3, 0 if number == last else NOTHING)
            + present(kind, message),
        )
        for number, (kind, message, source) in enumerate(told)
    )


@frozen
class _Writer:
    """Writes the actions of one op. `used` are the op's inputs, `numbers` those of the vertex's inputs among them."""

    used: tuple[Output, ...]
    numbers: tuple[int, ...]
    documents: list[Output]

    @classmethod
    def of(cls, inputs: Sequence[Made], documents: Sequence[Output]) -> _Writer:
        """Number the inputs, each once."""
        used = tuple(dict.fromkeys(each for each in (*inputs, *documents) if each is not None))
        numbers = tuple(NOTHING if each is None else used.index(each) for each in inputs)
        return cls(used=used, numbers=numbers, documents=list(documents))

    @property
    def base(self) -> int:
        """The number of the tree that is changed."""
        return self.numbers[0]

    def told(self, action: FileAction) -> list[Told]:
        """Return what an action is in LLB: one for each of a copy's sources."""
        if isinstance(action, CopyAction):
            number = self.numbers[action.input]
            return [(COPY, self._copy(action, each), number) for each in action.sources]
        if isinstance(action, MkfileAction):
            return [self._file(action)]
        if isinstance(action, MkdirAction):
            return [(MKDIR, self._directory(action), NOTHING)]
        if isinstance(action, RmAction):
            return [(RM, _removal(action), NOTHING)]
        return [(SYMLINK, self._link(action), NOTHING)]

    def _owner(self, number: int, owner: str) -> bytes:
        return field(number, owner_bytes(owner, self.base))

    def _copy(self, action: CopyAction, source: str) -> bytes:
        manner = action.manner or (_LITERAL if action.is_literal else _OF_COPY)
        source, include, required = _parts(action, source)
        return b"".join(
            (
                field(1, _rooted(source)),
                field(2, action.destination),
                self._owner(3, action.owner),
                field(4, _mode(action.mode)),
                field(5, manner.follows_links),
                field(6, manner.takes_contents),
                field(7, action.unpack),
                field(8, action.makes_parents),
                field(9, manner.has_patterns),
                field(10, manner.has_patterns and action.may_be_empty),
                # Files keep their times. Ours is only that of directories that are made, which LLB can't say.
                field(11, -1),
                *(field(12, each) for each in include),
                *(field(13, each) for each in action.exclude),
                field(14, action.replaces),
                field(15, _symbolic(action.mode)),
                *(field(16, each) for each in required),
            )
        )

    def _file(self, action: MkfileAction) -> Told:
        if action.is_exact:
            told = (
                field(1, action.path)
                + field(2, int(action.mode or f"{_DOCUMENT_MODE:o}", 8))
                + field(3, _data(action.data))
                + self._owner(4, action.owner)
                + field(5, moment(action.created))
            )
            return MKFILE, told, NOTHING
        copied = CopyAction(
            input=0,
            sources=(action.name,),
            destination=action.path,
            owner=action.owner,
            mode=action.mode,
            is_literal=True,
        )
        return COPY, self._copy(copied, action.name), self.used.index(self.documents.pop(0))

    def _directory(self, action: MkdirAction) -> bytes:
        return (
            field(1, action.path)
            + field(2, action.mode)
            + field(3, action.makes_parents)
            + self._owner(4, action.owner)
            + field(5, moment(action.created))
        )

    def _link(self, action: SymlinkAction) -> bytes:
        return (
            field(1, action.target)
            + field(2, action.path)
            + self._owner(3, action.owner)
            + field(4, moment(action.created))
        )


def _removal(action: RmAction) -> bytes:
    return field(1, action.path) + field(2, action.may_be_missing) + field(3, action.has_patterns)


def _parts(action: CopyAction, source: str) -> tuple[str, tuple[str, ...], tuple[str, ...]]:
    """Return where a copy begins, what it takes of that ((): all), and what has to be there.

    Of a source of `COPY --parents` that is all behind `/./`, or else the whole path.
    """
    if not action.parents:
        return source, action.include, action.required
    before, has_pivot, behind = source.partition("/./")
    start, taken = (before, behind) if has_pivot else ("/", source)
    taken = _rooted(taken).lstrip("/")
    whole = _rooted(f"{start}/{taken}")
    return start, (taken,), () if has_wildcards(whole) else (whole,)


def _rooted(path: str) -> str:
    return "/" + posixpath.normpath(f"/{path}").lstrip("/")


def _mode(text: str) -> int:
    """Return a mode that is a number; -1 without one, and 0 for one in letters, which stands elsewhere."""
    if not text:
        return -1
    return parse_mode(text).number or 0


def _symbolic(text: str) -> str:
    return text if text and parse_mode(text).number is None else ""


def _data(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _needs(action: FileAction) -> list[str]:
    """Return what a daemon must know of, which the first ones that had file ops didn't."""
    if isinstance(action, SymlinkAction):
        return ["file.symlink.create"]
    if not isinstance(action, CopyAction):
        return []
    found = {
        "file.copy.includeexcludepatterns": action.include or action.exclude or action.parents,
        "file.copy.alwaysreplaceexistingdestpaths": action.replaces,
        "file.copy.modestring": _symbolic(action.mode),
    }
    return [name for name, is_needed in found.items() if is_needed]
