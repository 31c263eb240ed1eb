"""What a frontend attests of its results: files of trees that it made, with what each says of what.

Source: BuildKit's `gateway.proto`, `exporter/attestation`.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from polyarch.attest.statement import SPDX, Named, Predicate
from polyarch.errors import InputError, PolyarchError
from polyarch.golang.json import read_json
from polyarch.inroot import read_small, resolve
from polyarch.record import frozen

__all__ = ["Given", "check_given", "in_order", "predicates_of"]

_LARGEST = 40 << 20
_PROVENANCE = "https://slsa.dev/provenance/"
_HINT = "that is for the frontend that gives the attestation"


@frozen
class Given:
    """An attestation: the predicate of `type` in a file; of a bundle all statements in a directory, of that type if it has one.

    `core` is what the file of the main list of software is called, without its extension.
    """

    path: str
    type: str = ""
    is_bundle: bool = False
    subjects: Sequence[Named] = ()
    core: str = ""

    @property
    def is_list(self) -> bool:
        """Whether this lists software."""
        return self.type == SPDX


def check_given(given: Given, *, has_tree: bool) -> None:
    """Raise InputError for an attestation that can't be made, in BuildKit's words."""
    if not given.is_bundle and not given.path:
        raise InputError("attestation does not have set path", hint=_HINT)
    if not has_tree:
        raise InputError("attestation does not have available content", hint=_HINT)
    if not given.is_bundle and given.type.startswith(_PROVENANCE):
        raise InputError("frontend may not set provenance attestations", hint=_HINT)


def predicates_of(root: Path, given: Given) -> list[Predicate]:
    """Return what an attestation says, read from its tree at `root`. Raises InputError."""
    if not given.is_bundle:
        content = _read(root, given.path)
        return [
            Predicate(
                type=given.type, content=content, filename=given.path, subjects=given.subjects
            )
        ]
    try:
        names = sorted(os.listdir(resolve(root, given.path)))
    except OSError as error:
        raise InputError(
            f"an attestation's bundle isn't there: {given.path}", hint=_HINT
        ) from error
    return [_stated(root, posixpath.join(given.path, name), given) for name in names]


def _read(root: Path, path: str) -> Any:
    try:
        data = read_small(path.lstrip("/"), _LARGEST, "attestation", root=root)
        return read_json(data) if data else None  # so BuildKit has it
    except (OSError, PolyarchError, ValueError) as error:
        raise InputError(f"cannot read in-toto attestation {path}: {error}", hint=_HINT) from error


def _stated(root: Path, path: str, given: Given) -> Predicate:
    """Return what a statement says."""
    statement = _read(root, path)
    trouble = InputError(f"cannot decode in-toto statement {path}", hint=_HINT)
    if not isinstance(statement, dict):
        raise trouble
    kind, subjects = statement.get("predicateType", ""), statement.get("subject") or []
    if not isinstance(kind, str) or not isinstance(subjects, list):
        raise trouble
    if given.type and kind != given.type:
        raise InputError(
            f"bundle entry {kind} does not match required predicate type {given.type}", hint=_HINT
        )
    if kind.startswith(_PROVENANCE):
        raise InputError("frontend may not bundle provenance attestations", hint=_HINT)
    return Predicate(
        type=kind,
        content=statement.get("predicate"),
        filename=path,
        subjects=tuple(_subject(each, trouble) for each in subjects),
    )


def _subject(told: Any, trouble: InputError) -> Named:
    digests = told.get("digest") if isinstance(told, dict) else None
    if not isinstance(digests, dict) or not isinstance(told.get("name", ""), str):
        raise trouble
    return Named(
        name=told.get("name", ""), digests={str(name): str(each) for name, each in digests.items()}
    )


def in_order(found: Iterable[tuple[Given, Predicate]]) -> tuple[Predicate, ...]:
    """Return predicates with the main list of software first."""
    pairs = list(found)
    return tuple(each for _, each in sorted(pairs, key=lambda pair: not _is_core(*pair)))


def _is_core(given: Given, predicate: Predicate) -> bool:
    return (
        bool(given.core) and posixpath.normpath(predicate.filename).partition(".")[0] == given.core
    )
