"""ADD of local archives: what is a tar, compressed or not, is unpacked instead of copied."""

from __future__ import annotations

from pathlib import Path

from polyarch.errors import InvalidLayer
from polyarch.layer.apply import extract
from polyarch.layer.compress import decompressed
from polyarch.layer.tar import BLOCK
from polyarch.layer.tarread import is_archive
from polyarch.worker.copy import make_directories
from polyarch.worker.users import Owner

__all__ = ["unpack_archive"]


def unpack_archive(
    path: Path, root: Path, destination: str, owner: Owner | None, made: list[Path]
) -> bool:
    """Unpack the file `path` at `destination` in the tree `root`, if it is a tar archive.

    The content decides, never the name: that the first block is a header. Returns whether it was one;
    directories that were made for it are added to `made`. Raises InvalidLayer for one that is damaged behind
    its first header: copied as a file, it would be another result without a word.
    """
    if not _is_archive(path):
        return False
    # The archive's links lead nowhere but into the destination, as if that were the root.
    directory = make_directories(root, destination, owner, made=made)
    with path.open("rb") as stream, decompressed(stream) as tar:
        extract(tar, directory, "/", owner=(owner.uid, owner.gid) if owner else None)
    return True


def _is_archive(path: Path) -> bool:
    start = b""
    try:
        with path.open("rb") as stream, decompressed(stream) as tar:
            while len(start) < BLOCK and (data := tar.read(BLOCK - len(start))):
                start += data
    except InvalidLayer:
        return False
    return is_archive(start)
