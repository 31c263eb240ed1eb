"""An archive's bytes -> the file that was named: all of it, or what was there before.

What is there already and is no file, such as `/dev/null` or a pipe, is written into: a file in its place
would be the end of it. A link of that name is replaced like a file, wherever it leads; whoever wants the
file behind it names that.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from polyarch.paths import is_device, replacing
from polyarch.store.trouble import output_trouble

if TYPE_CHECKING:
    from polyarch.layer.tar import Sink

__all__ = ["Whole", "made_directory", "write_output"]


class Whole:
    """Writes all of what it is given to a descriptor, however little the kernel takes at a time."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def write(self, data: bytes, /) -> None:
        """Write it. Raises OSError."""
        view = memoryview(data)
        while view:
            view = view[os.write(self._descriptor, view) :]


def write_output(destination: str, write: Callable[[Sink], None]) -> None:
    """Have an archive written beside its place and rename it, or written to a stream.

    `destination` is a path, whose directory is made if it is missing, or "-" or "" for standard output.
    Raises StoreError and what `write` raises; nothing is left behind then.
    """
    if destination in {"", "-"}:
        write(sys.stdout.buffer)
        sys.stdout.buffer.flush()
        return
    path = Path(destination)
    with output_trouble("write to", path):
        if is_device(path):
            with path.open("r+b" if path.is_block_device() else "wb", buffering=0) as stream:
                write(Whole(stream.fileno()))
            return
        with made_directory(path.parent), _whole_file(path) as descriptor:
            write(Whole(descriptor))


@contextmanager
def _whole_file(path: Path) -> Iterator[int]:
    """Give a new file that takes the place of `path` when the block ends well. Raises OSError.

    It has no name before, where the file system can do without: a kill then leaves nothing.
    """
    try:
        descriptor = os.open(path.parent, os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o666)
    except OSError:
        with replacing(path) as aside, aside.open("xb", buffering=0) as stream:
            yield stream.fileno()
        return
    try:
        yield descriptor
        with replacing(path) as aside:
            # The kernel follows this link only if it is asked to, for which Python wants a directory.
            link = f"/proc/self/fd/{descriptor}"
            os.link(link, aside, src_dir_fd=descriptor, follow_symlinks=True)
    finally:
        os.close(descriptor)


@contextmanager
def made_directory(directory: Path, mode: int = 0o755) -> Iterator[None]:
    """Make a directory with those above it, as far as they are missing; they go again if the rest fails.

    `mode` is that of the directory itself.

    Raises OSError.
    """
    missing = [each for each in (directory, *directory.parents) if not os.path.lexists(each)]
    try:
        directory.mkdir(mode=mode, parents=True, exist_ok=True)
        yield
    except BaseException:
        for each in missing:
            with suppress(OSError):
                each.rmdir()
        raise
