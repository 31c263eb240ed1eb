"""Attestations of a result that is no image: files beside its own, about each of these.

Source: BuildKit's `exporter/local/fs.go`.
"""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath

from polyarch.attest.statement import Predicate, Subject
from polyarch.digest import Digest
from polyarch.errors import InputError
from polyarch.exporter.files import walk
from polyarch.exporter.result import FileTree
from polyarch.inroot import get_node
from polyarch.platforms import Platform
from polyarch.record import replace
from polyarch.request.values import Output

__all__ = ["with_attestations"]

_PREFIX = "attestation-prefix"


def with_attestations(
    trees: Sequence[FileTree],
    predicates: Mapping[Platform, Sequence[Predicate]],
    output: Output,
    *,
    is_mixed: bool,
) -> tuple[FileTree, ...]:
    """Return the trees with the files of their attestations; `is_mixed` says that several come into one directory.

    Raises InputError for two of one name.
    """
    prefix = output.attributes.get(_PREFIX, "")
    return tuple(
        replace(tree, added=_added(tree, predicates.get(tree.platform, ()), prefix, is_mixed))
        for tree in trees
    )


def _added(
    tree: FileTree, predicates: Sequence[Predicate], prefix: str, is_mixed: bool
) -> dict[str, bytes]:
    wanted = [each for each in predicates if not each.inline_only]
    subjects = _subjects(tree) if wanted else ()
    found: dict[str, bytes] = {}
    for predicate in wanted:
        path = PurePosixPath(prefix + PurePosixPath(predicate.filename).name)
        if is_mixed:
            path = path.with_name(f"{path.stem}.{tree.directory}{path.suffix}")
        name = str(path)
        _check_place(tree, path)
        if name in found:
            raise InputError(
                f"duplicate attestation path name {name}", hint="give one another filename"
            )
        found[name] = predicate.statement(subjects, is_file=True)
    return found


def _check_place(tree: FileTree, path: PurePosixPath) -> None:
    """Raise InputError for a prefix that leads out of the result, as it is written or by a link in it."""
    is_inside = not path.is_absolute() and ".." not in path.parts
    above = [tree.root / each for each in path.parents if each.parts] if is_inside else []
    if not is_inside or any(
        each.is_symlink() or (each.exists() and not each.is_dir()) for each in above
    ):
        raise InputError(
            f"attestation path {path} leads out of the result",
            hint=f"give another {_PREFIX}",
        )


def _subjects(tree: FileTree) -> tuple[Subject, ...]:
    """Return every file with its digest."""
    found = []
    for path, entry in walk(str(tree.root)):
        mode, _ = get_node(entry.path, entry.stat(follow_symlinks=False))
        if stat.S_ISREG(mode):
            with open(entry.path, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            found.append(Subject(name=path, digest=Digest(f"sha256:{digest}")))
    return tuple(found)
