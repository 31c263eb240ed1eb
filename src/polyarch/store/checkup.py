"""What is wrong with a store, for `polyarch doctor`, and how to fix it.

A process that is killed leaves things lying about, which is normal: the next process to open the store, or
the next collection, takes them away. A fault is what no kill can explain, and what would spoil a build.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from polyarch.digest import parse_digest
from polyarch.errors import IntegrityError, InvalidDigest, NotFound, StoreError
from polyarch.record import frozen
from polyarch.store.images import documents
from polyarch.store.snapshots import SnapshotRecord
from polyarch.store.store import Store, is_abandoned
from polyarch.store.trouble import store_trouble

__all__ = ["Problem", "ProblemKind", "check", "debris", "repair"]


class ProblemKind(StrEnum):
    """What something is wrong with."""

    BLOB = "blob"
    DATABASE = "database"
    NAME = "name"
    RECORD = "record"
    SCRATCH = "scratch"
    SNAPSHOT = "snapshot"


@frozen
class Problem:
    """One thing that is wrong."""

    kind: ProblemKind
    subject: str
    text: str
    is_fault: bool = True
    """False for what a killed process leaves behind; it does no harm, and goes by itself."""


def debris(root: Path) -> tuple[str, ...]:
    """Return the scratch directories of dead processes; opening the store removes them."""
    with suppress(OSError):
        names = sorted(os.listdir(root / "tmp"))
        return tuple(name for name in names if is_abandoned(root / "tmp" / name))
    return ()


def check(store: Store, *, deep: bool = False) -> tuple[Problem, ...]:
    """Return what is wrong with the store. With `deep` all blobs are read and hashed."""
    problems = [
        Problem(kind=ProblemKind.DATABASE, subject=str(store.database.path), text=text)
        for text in store.database.check()
    ]
    if problems:
        return tuple(problems)
    return (
        *_snapshots(store),
        *_names(store),
        *_blobs(store, deep=deep),
        *_scratch(store),
    )


def _snapshots(store: Store) -> Iterator[Problem]:
    # Listed in this order, what another process publishes meanwhile has a record or a lease.
    with store_trouble("list the snapshots in", store.snapshots_directory):
        present = set(os.listdir(store.snapshots_directory))
    leased = store.leases.held()
    records = {record.id: record for record in store.snapshots.all()}
    recorded = set(records)
    for name in sorted(recorded - present - leased):
        if not (store.snapshots_directory / name).exists():
            text = f"the snapshot {name} was being removed; the next prune forgets it"
            yield Problem(kind=ProblemKind.RECORD, subject=name, text=text, is_fault=False)
    for name in sorted(present - recorded - leased):
        text = f"nothing is known of the snapshot {name}; the next prune removes it"
        yield Problem(kind=ProblemKind.SNAPSHOT, subject=name, text=text, is_fault=False)
    for name in sorted(present - leased):
        path = store.snapshots_directory / name
        if path.exists() and not (path / "fs").is_dir():
            yield Problem(
                kind=ProblemKind.SNAPSHOT,
                subject=name,
                text=f"the snapshot {name} was made in half",
            )
        elif name in records and (path / "refs").is_dir():
            yield from _references(store, records[name])


def _references(store: Store, record: SnapshotRecord) -> Iterator[Problem]:
    """Find out whether the snapshots are there that one refers to, which are among its parents."""
    for parent in record.parents:
        if not (store.snapshots_directory / parent / "fs").is_dir():
            yield Problem(
                kind=ProblemKind.SNAPSHOT,
                subject=record.id,
                text=f"the snapshot {record.id} needs {parent}, which is missing",
            )
            return


def _names(store: Store) -> Iterator[Problem]:
    """Find names of images that stand for nothing: their documents were there when they were set."""
    for ref in store.refs.all():
        missing = []
        for digest, is_needed in documents(store.blobs, ref.descriptor):
            try:
                store.blobs.read(digest)
            except NotFound:
                # Of an index only the platforms that somebody asked for are fetched.
                missing += [f"{digest} is missing"] if is_needed else []
            except (IntegrityError, StoreError):
                missing.append(f"{digest} is damaged")
        if missing and store.refs.find(ref.name) == ref:  # else it was collected meanwhile
            text = f"the image {ref.name} can't be used: {', '.join(missing)}"
            yield Problem(kind=ProblemKind.NAME, subject=ref.name, text=text)


def _blobs(store: Store, *, deep: bool) -> Iterator[Problem]:
    sizes = {blob.digest: blob.size for blob in store.layers.all()}
    for digest, size in sorted(store.blobs):
        try:
            parse_digest(digest)
        except InvalidDigest:
            text = f"{digest.replace(':', '/')} in the directory of blobs is none"
            yield Problem(kind=ProblemKind.BLOB, subject=digest, text=text)
            continue
        if sizes.get(digest, size) != size:
            text = f"the blob {digest} has {size} bytes instead of {sizes[digest]}"
            yield Problem(kind=ProblemKind.BLOB, subject=digest, text=text)
        elif deep and not store.blobs.is_sound(digest):
            text = f"the bytes of {digest} have another digest"
            yield Problem(kind=ProblemKind.BLOB, subject=digest, text=text)


def _scratch(store: Store) -> Iterator[Problem]:
    """Find what opening the store should have removed, and couldn't: a mount is still on it, say."""
    for name in debris(store.root):
        path = store.root / "tmp" / name
        text = f"{path}, of a process that is gone, can't be removed"
        yield Problem(kind=ProblemKind.SCRATCH, subject=name, text=text)


def repair(store: Store, problems: tuple[Problem, ...]) -> None:
    """Remove what is damaged or astray; all of it can be fetched or built again.

    A damaged database is set aside under another name, and the store starts with an empty one; names
    of images are lost with it. No other process should be using the store. Raises StoreError.
    """
    for problem in problems:
        subject = problem.subject
        match problem.kind:
            case ProblemKind.BLOB:
                store.discard(store.blobs.root / subject.replace(":", "/", 1))
            case ProblemKind.RECORD:
                store.snapshots.remove(subject)
            case ProblemKind.SNAPSHOT:
                store.snapshots.remove(subject)
                store.discard(store.snapshots_directory / subject)
            case ProblemKind.NAME:
                store.refs.delete(subject)
            case ProblemKind.SCRATCH:
                store.discard(store.root / "tmp" / subject)
            case ProblemKind.DATABASE:
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
