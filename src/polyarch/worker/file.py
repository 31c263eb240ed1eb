"""File ops: making directories and files, and copying, inside one writable tree.

All of a FileOp's actions happen in one snapshot, so they are one layer. Owners by name are looked up in
the tree that is changed, at the moment of the action.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from polyarch.graph.op import CopyAction, FileAction, MkdirAction, MkfileAction
from polyarch.inroot import set_owner
from polyarch.text.filemode import parse_mode
from polyarch.text.ignore import Matcher, exclusion
from polyarch.worker.archive import unpack_archive
from polyarch.worker.copy import Copier, Ledger, make_directories
from polyarch.worker.tree import (
    Entry,
    SourceTree,
    find_literal,
    find_sources,
    find_starts,
)
from polyarch.worker.users import owner

__all__ = ["perform"]

_FILE_MODE = 0o644


def perform(
    actions: Sequence[FileAction],
    root: Path,
    sources: Sequence[SourceTree | None],
    ledger: Ledger | None = None,
) -> Mapping[int, Sequence[str]]:
    """Do `actions` in the tree at `root`; `sources[i]` is the tree of the vertex's input i.

    `ledger` knows what an earlier run of them has left there. Returns the places in the tree of the large
    files that come from snapshots, in their order, by input.
    Raises NotFound for a missing source and InputError for what can't be done.
    """
    places: dict[int, list[str]] = {}
    for action in actions:
        made: list[Path] = []
        if isinstance(action, MkdirAction):
            make_directories(root, action.path, owner(root, action.owner), action.mode, made)
        elif isinstance(action, MkfileAction):
            _make_file(action, root, made)
        else:
            source = sources[action.input]
            assert source is not None
            large = _copy(action, root, source, made, ledger)
            places.setdefault(action.input, []).extend(large)
        if action.created is not None:
            # Last of all, and parents last: whatever is made in a directory changes its time.
            for path in reversed(made):
                os.utime(path, (action.created, action.created))
    return {number: large for number, large in places.items() if large}


def _make_file(action: MkfileAction, root: Path, made: list[Path]) -> None:
    who = owner(root, action.owner)
    mode = parse_mode(action.mode) if action.mode else None
    copier = Copier(source=SourceTree(root=root), root=root, owner=who, mode=mode, made=made)
    target = copier.place(action.name, action.path)
    target.write_bytes(action.data.encode("utf-8", "surrogateescape"))
    set_owner(target, who.uid, who.gid)
    os.chmod(target, mode.of(_FILE_MODE, False) if mode else _FILE_MODE)


def _copy(
    action: CopyAction, root: Path, source: SourceTree, made: list[Path], ledger: Ledger | None
) -> list[str]:
    copier = Copier(
        source=source,
        root=root,
        owner=owner(root, action.owner) if action.owner else None,
        mode=parse_mode(action.mode) if action.mode else None,
        excludes=exclusion(action.exclude),
        created=action.created,
        made=made,
        ledger=ledger,
    )
    for wanted in action.sources:
        for entry in _entries(action, wanted, copier):
            if not (action.unpack and _unpack(action, entry, copier)):
                copier.copy(entry, action.destination, as_itself=action.is_literal)
    return copier.large


def _entries(action: CopyAction, wanted: str, copier: Copier) -> list[Entry]:
    if action.parents:
        entries, pattern = find_starts(copier.source, wanted)
        copier.includes = Matcher([pattern])
        return entries
    if action.is_literal:
        return [find_literal(copier.source, wanted)]
    return find_sources(copier.source, wanted)


def _unpack(action: CopyAction, entry: Entry, copier: Copier) -> bool:
    if not stat.S_ISREG(entry.status.st_mode):
        return False
    return unpack_archive(entry.path, copier.root, action.destination, copier.owner, copier.made)
