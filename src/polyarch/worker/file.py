"""File ops: making folders and files, and copying, inside one writable tree.

All of a FileOp's actions happen in one snapshot, so they are one layer. Owners by name are looked up in
the tree that is changed, at the moment of the action.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from polyarch.graph.op import CopyAction, FileAction, MkdirAction, MkfileAction
from polyarch.inroot import resolve, set_owner
from polyarch.text.ignore import Matcher
from polyarch.worker.archive import unpack_archive
from polyarch.worker.copy import Copier, make_folders
from polyarch.worker.filemode import parse_mode
from polyarch.worker.tree import Entry, SourceTree, find_sources, find_with_parents
from polyarch.worker.users import owner

__all__ = ["perform"]

_FILE_MODE = 0o644


def perform(
    actions: Sequence[FileAction], root: Path, sources: Sequence[SourceTree | None]
) -> None:
    """Do `actions` in the tree at `root`; `sources[i]` is the tree of the vertex's input i.

    Raises NotFound for a missing source and InputError for what can't be done.
    """
    for action in actions:
        made: list[Path] = []
        if isinstance(action, MkdirAction):
            make_folders(root, action.path, owner(root, action.owner), action.mode, made)
        elif isinstance(action, MkfileAction):
            _make_file(action, root, made)
        else:
            source = sources[action.input]
            assert source is not None
            _copy(action, root, source, made)
        if action.created is not None:
            # Last of all, and parents last: whatever is made in a folder changes its time.
            for path in reversed(made):
                os.utime(path, (action.created, action.created))


def _make_file(action: MkfileAction, root: Path, made: list[Path]) -> None:
    who = owner(root, action.owner)
    change = parse_mode(action.mode) if action.mode else None
    folder = action.path if action.path.endswith("/") else os.path.dirname(action.path)
    make_folders(root, folder or "/", who, change(0o755, True) if change else 0o755, made)
    target = resolve(root, action.path)
    if target.is_dir():
        target = target / action.name
    if os.path.lexists(target):
        os.unlink(target)
    target.write_bytes(action.data.encode("utf-8", "surrogateescape"))
    set_owner(target, who.uid, who.gid)
    os.chmod(target, change(_FILE_MODE, False) if change else _FILE_MODE)


def _copy(action: CopyAction, root: Path, source: SourceTree, made: list[Path]) -> None:
    who = owner(root, action.owner) if action.owner else None
    copier = Copier(
        source=source,
        root=root,
        owner=who,
        mode=parse_mode(action.mode) if action.mode else None,
        excludes=_excluder(action.exclude),
        made=made,
    )
    for wanted in action.sources:
        if action.parents:
            copier.copy_below(find_with_parents(source, wanted), action.destination)
            continue
        for entry in find_sources(source, wanted):
            if not (action.unpack and _unpack(action, entry, copier)):
                copier.copy(entry, action.destination)


def _unpack(action: CopyAction, entry: Entry, copier: Copier) -> bool:
    if entry.is_directory:
        return False
    return unpack_archive(entry.path, copier.root, action.destination, copier.owner, copier.made)


def _excluder(patterns: Sequence[str]) -> Callable[[str], bool] | None:
    if not patterns:
        return None
    return Matcher(patterns).ignores
