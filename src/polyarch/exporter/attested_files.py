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
        name = f"{path.stem}.{tree.directory}{path.suffix}" if is_mixed else str(path)
        if name in found:
            raise InputError(
                f"duplicate attestation path name {name}", hint="give one another filename"
            )
        found[name] = predicate.statement(subjects, is_file=True)
    return found


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
