"""Unpacked layers beside the blobs that they came from: what a snapshot has that its layer hasn't, or otherwise.

Nothing writes to a snapshot once it is there, so a difference is the disk's doing, or somebody's. Each layer is unpacked
once more, into scratch space, and compared file by file. Of what a step has made, only what its layer has is looked at:
files that didn't change in it are left out of layers. Layers whose blob isn't here can't be told about, nor snapshots that
go over others or refer to them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from polyarch.errors import PolyarchError
from polyarch.inroot import get_owner
from polyarch.layer.apply import apply
from polyarch.layer.compress import decompressed
from polyarch.snapshot.stack import snapshot_of_diff
from polyarch.store.checkup import Problem, ProblemKind
from polyarch.store.layerform import OPAQUE_XATTRS, is_whiteout
from polyarch.store.layers import LayerBlob
from polyarch.store.snapshots import SnapshotRecord
from polyarch.store.store import Store

__all__ = ["spoilt_snapshots"]

_CHUNK = 1 << 20
_PARTIAL = ("over", "refs")
"""What snapshots have that are only part of their layer (`snapshot.directories`)."""


def spoilt_snapshots(store: Store) -> Iterator[Problem]:
    """Give the snapshots that aren't their layers any more. To be called in the engine, as builds unpack there."""
    for record in store.snapshots.all():
        directory = store.snapshots_directory / record.id
        if not (directory / "fs").is_dir() or any((directory / each).exists() for each in _PARTIAL):
            continue
        blob = _blob_of(store, record)
        what = "" if blob is None else _difference_to(store, blob, record)
        # One that was collected meanwhile differs in everything.
        if what and blob is not None and directory.is_dir():
            yield Problem(
                kind=ProblemKind.SNAPSHOT,
                subject=record.id,
                text=f"the snapshot {record.id} isn't the layer {blob.digest} any more: {what}",
            )


def _blob_of(store: Store, record: SnapshotRecord) -> LayerBlob | None:
    if record.diff_id is None:
        return None
    blobs = store.layers.blobs_of(record.diff_id)
    return next((blob for blob in blobs if store.blobs.has(blob.digest)), None)


def _difference_to(store: Store, blob: LayerBlob, record: SnapshotRecord) -> str:
    kept = store.snapshots_directory / record.id / "fs"
    fresh = store.temporary("compared", many=True)
    try:
        fresh.mkdir(mode=0o755)
        with store.blobs.open(blob.digest) as stream, decompressed(stream) as tar:
            if apply(tar, fresh) != blob.diff_id:
                return ""  # the blob is what is wrong, and told of elsewhere
        is_of_image = record.id == snapshot_of_diff(blob.diff_id)
        return next(_differences(str(fresh), str(kept), is_whole=is_of_image), "")
    except (PolyarchError, OSError):
        # A damaged blob, or no room to unpack it: nothing is known of the snapshot.
        return ""
    finally:
        store.discard(fresh)


def _differences(fresh: str, kept: str, *, is_whole: bool) -> Iterator[str]:
    """Say of each file what is otherwise than in the layer, which was unpacked at `fresh`."""
    todo = [""]
    while todo:
        below = todo.pop()
        names = set(os.listdir(fresh + below))
        if is_whole:
            more = sorted(set(os.listdir(kept + below)) - names)
            yield from (f"{below}/{name} isn't in the layer" for name in more)
        for name in sorted(names):
            path = f"{below}/{name}"
            status = os.lstat(fresh + path)
            found = _difference(fresh + path, status, kept + path)
            if found:
                yield f"{path} {found}"
            elif stat.S_ISDIR(status.st_mode):
                todo.append(path)


def _difference(fresh: str, status: os.stat_result, kept: str) -> str:
    try:
        other = os.lstat(kept)
    except FileNotFoundError:
        return "is missing"
    if is_whiteout(status) and is_whiteout(other):
        return ""
    if stat.S_IFMT(status.st_mode) != stat.S_IFMT(other.st_mode):
        return "is a file of another kind"
    return next(_findings(fresh, status, kept, other), "")


def _findings(
    fresh: str, status: os.stat_result, kept: str, other: os.stat_result
) -> Iterator[str]:
    """Say what is otherwise of two files of one kind."""
    mode, others = stat.S_IMODE(status.st_mode), stat.S_IMODE(other.st_mode)
    if mode != others:
        yield f"has the mode {others:o}, and not {mode:o}"
    if get_owner(fresh, status) != get_owner(kept, other):
        yield "has another owner"
    if stat.S_ISLNK(status.st_mode) and os.readlink(fresh) != os.readlink(kept):
        yield "leads elsewhere"
    if stat.S_ISREG(status.st_mode) and not _is_equal(fresh, status, kept, other):
        yield "has other content"
    if _attributes(fresh) != _attributes(kept):
        yield "has other extended attributes"
    # Steps know nanoseconds, and some archives don't.
    if not stat.S_ISDIR(status.st_mode) and int(status.st_mtime) != int(other.st_mtime):
        yield "has another time"


def _is_equal(one: str, status: os.stat_result, other: str, others: os.stat_result) -> bool:
    if status.st_size != others.st_size:
        return False
    with open(one, "rb", buffering=0) as first, open(other, "rb", buffering=0) as second:
        while data := first.read(_CHUNK):
            if data != second.read(len(data)):
                return False
    return True


def _attributes(path: str) -> dict[str, bytes]:
    """Return the extended attributes that are content: opaque directories have several forms."""
    try:
        names = os.listxattr(path, follow_symlinks=False)
        return {
            name: os.getxattr(path, name, follow_symlinks=False)
            for name in names
            if name not in OPAQUE_XATTRS
            and not name.startswith(("trusted.overlay.", "user.overlay."))
        }
    except OSError:
        return {}
