"""File ops: making directories and files, and copying, inside one writable tree.

All of a FileOp's actions happen in one snapshot, so they are one layer. Owners by name are looked up in
the tree that is changed, at the moment of the action.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path

from polyarch.errors import InputError, NotFound
from polyarch.graph.actions import (
    CopyAction,
    FileAction,
    MkdirAction,
    MkfileAction,
    RmAction,
    SymlinkAction,
)
from polyarch.inroot import resolve, set_owner
from polyarch.snapshot.references import Referrer
from polyarch.text.filemode import parse_mode
from polyarch.text.ignore import exclusion
from polyarch.worker.archive import unpack_archive
from polyarch.worker.copy import Copier, Ledger, make_directories
from polyarch.worker.sources import find_all
from polyarch.worker.tree import Entry, SourceTree, clean_source, find_names
from polyarch.worker.users import Owner, owner, owner_of_new

__all__ = ["perform"]

_FILE_MODE = 0o644


def perform(
    actions: Sequence[FileAction],
    root: Path,
    sources: Sequence[SourceTree | None],
    ledger: Ledger | None = None,
    referrer: Referrer | None = None,
) -> Mapping[int, Sequence[str]]:
    """Do `actions` in the tree at `root`; `sources[i]` is the tree of the vertex's input i.

    `ledger` knows what an earlier run of them has left there. `referrer` lets copies of large files refer to
    those. Returns the places in the tree of the large
    files that come from snapshots, in their order, by input.
    Raises NotFound for a missing source and InputError for what can't be done.
    """
    places: dict[int, list[str]] = {}
    for action in actions:
        made: list[Path] = []
        if isinstance(action, CopyAction):
            source = sources[action.input]
            assert source is not None
            large = _copy(action, root, source, made, ledger, referrer)
            places.setdefault(action.input, []).extend(large)
        elif isinstance(action, RmAction):
            _remove(action, root)
            continue
        else:
            _make(action, root, made)
        if action.created is not None:
            # Last of all, and parents last: whatever is made in a directory changes its time.
            for path in reversed(made):
                os.utime(path, (action.created, action.created), follow_symlinks=False)
    return {number: large for number, large in places.items() if large}


def _make(action: MkdirAction | MkfileAction | SymlinkAction, root: Path, made: list[Path]) -> None:
    if isinstance(action, SymlinkAction):
        _make_link(action, root, made)
    elif isinstance(action, MkfileAction):
        (_make_exact_file if action.is_exact else _make_file)(action, root, made)
    else:
        if not action.makes_parents:
            _check_parent(root, action.path)
        make_directories(root, action.path, _wanted(root, action.owner), action.mode, made)


def _wanted(root: Path, text: str) -> Owner | None:
    """Return the owner that an action names; None if it names none."""
    return owner(root, text) if text else None


def _give(target: Path, who: Owner | None) -> None:
    """Give what was made to the owner that is wanted, else to whom its directory wants."""
    who = who or owner_of_new(target.parent)
    set_owner(target, who.uid, who.gid)


def _check_parent(root: Path, path: str) -> Path:
    """Return where `path` is; raise NotFound if there is no directory that it may be made in."""
    target = resolve(root, path)
    if not target.parent.is_dir():
        raise NotFound(
            f"open {path}: no such file or directory",
            hint="make its directory first, or let it be made along with it",
        )
    return target


def _make_exact_file(action: MkfileAction, root: Path, made: list[Path]) -> None:
    target = _check_parent(root, action.path)
    if target.is_dir():
        raise InputError(f"open {action.path}: is a directory")
    is_new = not target.exists()
    target.write_bytes(action.data.encode("utf-8", "surrogateescape"))
    _give(target, _wanted(root, action.owner))
    if is_new:
        os.chmod(target, int(action.mode, 8))
    made.append(target)


def _make_link(action: SymlinkAction, root: Path, made: list[Path]) -> None:
    target = _check_parent(root, action.path)
    try:
        os.symlink(action.target, target)
    except FileExistsError as error:
        raise InputError(f"symlink {action.target} {action.path}: file exists") from error
    _give(target, _wanted(root, action.owner))
    made.append(target)


def _remove(action: RmAction, root: Path) -> None:
    names = [action.path]
    if action.has_patterns:
        names = find_names(SourceTree(root=root), action.path)
    for name in names:
        if not clean_source(name):
            raise InputError("rm: invalid empty path")
        target = resolve(root, clean_source(name), follow_last=False)
        if target.is_dir() and not target.is_symlink():
            from shutil import rmtree  # noqa: PLC0415 few steps remove trees

            rmtree(target)
        elif os.path.lexists(target):
            target.unlink()
        elif not action.may_be_missing:
            raise NotFound(f"rm {name}: no such file or directory")


def _make_file(action: MkfileAction, root: Path, made: list[Path]) -> None:
    who = _wanted(root, action.owner)
    mode = parse_mode(action.mode) if action.mode else None
    copier = Copier(source=SourceTree(root=root), root=root, owner=who, mode=mode, made=made)
    target = copier.place(action.name, action.path)
    target.write_bytes(action.data.encode("utf-8", "surrogateescape"))
    # Like a file that is copied from a context, which is root's wherever it goes.
    _give(target, who or Owner(uid=0, gid=0))
    os.chmod(target, mode.of(_FILE_MODE, False) if mode else _FILE_MODE)


def _copy(
    action: CopyAction,
    root: Path,
    source: SourceTree,
    made: list[Path],
    ledger: Ledger | None,
    referrer: Referrer | None,
) -> list[str]:
    if not action.makes_parents:
        _check_parent(root, action.destination)
    copier = Copier(
        source=source,
        root=root,
        owner=_wanted(root, action.owner),
        mode=parse_mode(action.mode) if action.mode else None,
        excludes=exclusion(action.exclude),
        created=action.created,
        dated=action.created if action.manner is not None and action.manner.dates else None,
        made=made,
        ledger=ledger,
        referrer=referrer,
        replaces=action.replaces,
    )
    for wanted in action.sources:
        found = find_all(source, action, wanted)
        copier.includes = found.includes
        for entry in found.entries:
            if not (action.unpack and _unpack(action, entry, copier)):
                copier.copy(entry, action.destination, as_itself=action.is_itself)
    return copier.large


def _unpack(action: CopyAction, entry: Entry, copier: Copier) -> bool:
    if not stat.S_ISREG(entry.status.st_mode):
        return False
    return unpack_archive(entry.path, copier.root, action.destination, copier.owner, copier.made)
