"""What is wrong with a store, for `polyarch doctor`, and how to mend it."""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from polyarch.digest import Digest, hex_of
from polyarch.errors import StoreError
from polyarch.record import frozen
from polyarch.store.store import Store

__all__ = ["Problem", "check", "repair"]


@frozen
class Problem:
    """One thing that is wrong; `kind` is `blob`, `record`, `snapshot` or `database`."""

    kind: str
    subject: str
    text: str


def check(store: Store, *, deep: bool = False) -> tuple[Problem, ...]:
    """Return what is wrong with the store. With `deep` all blobs are read and hashed."""
    problems = [
        Problem(kind="database", subject=str(store.database.path), text=text)
        for text in store.database.check()
    ]
    if problems:
        return tuple(problems)
    folder = store.snapshots_folder
    recorded = {record.id for record in store.snapshots.all()}
    present = {path.name for path in folder.iterdir()}
    problems += [
        Problem(kind="record", subject=name, text=f"the snapshot {name} is missing")
        for name in sorted(recorded - present)
    ]
    leased = store.leases.held()
    problems += [
        Problem(kind="snapshot", subject=name, text=f"nothing is known of the snapshot {name}")
        for name in sorted(present - recorded - leased)
    ]
    if deep:
        problems += [
            Problem(kind="blob", subject=digest, text=f"the bytes of {digest} have another digest")
            for digest, _ in sorted(store.blobs)
            if not _is_sound(store.blobs.path(digest), digest)
        ]
    return tuple(problems)


def repair(store: Store, problems: tuple[Problem, ...]) -> None:
    """Remove what is damaged or astray; all of it can be fetched or built again.

    A damaged database is set aside under another name, and the store starts with an empty one; names
    of images are lost with it. No other process should be using the store. Raises StoreError.
    """
    for problem in problems:
        if problem.kind == "blob":
            store.blobs.remove(Digest(problem.subject))
        elif problem.kind == "record":
            store.snapshots.remove(problem.subject)
        elif problem.kind == "snapshot":
            store.discard(store.snapshots_folder / problem.subject)
        else:
            _set_aside(store)
            return


def _set_aside(store: Store) -> None:
    store.database.close()
    path = store.database.path
    try:
        os.replace(path, f"{path}.damaged")
        for suffix in ("-wal", "-shm"):
            with suppress(FileNotFoundError):
                os.unlink(f"{path}{suffix}")
    except OSError as error:
        raise StoreError(f"can't set {path} aside: {error.strerror}") from error
    store.database.reset()


def _is_sound(path: Path, digest: Digest) -> bool:
    algorithm = digest.partition(":")[0]
    with suppress(FileNotFoundError), open(path, "rb", buffering=0) as file:
        found = hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False))
        return found.hexdigest() == hex_of(digest)
    return True  # removed meanwhile
