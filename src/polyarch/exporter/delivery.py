"""Archives of what other machines made -> the places that were asked for."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import BinaryIO

from polyarch.exporter.directory import DirectoryOptions, fill_directory
from polyarch.exporter.outfile import write_output
from polyarch.layer.apply import extract
from polyarch.layer.tar import Sink
from polyarch.request.outputs import is_mirror
from polyarch.request.values import Output, OutputType

__all__ = ["copy_file", "deliver"]

_CHUNK = 1 << 20


def deliver(output: Output, archive: BinaryIO) -> None:
    """Unpack an archive to be this user's files if a directory was asked for, or else write it as it is.

    A directory is whole or as it was, as one that is built here. Raises StoreError, and LayerError for what is no archive.
    """
    archive.seek(0)
    if output.type == OutputType.LOCAL:
        options = DirectoryOptions(split=False, is_mirror=is_mirror(output))
        fill_directory(partial(_unpack, archive), Path(output.destination), options)
    else:
        write_output(output.destination, partial(copy_file, archive))


def _unpack(archive: BinaryIO, stage: int) -> None:
    extract(archive, Path(f"/proc/self/fd/{stage}"), "/", owner=(os.geteuid(), os.getegid()))


def copy_file(file: BinaryIO, sink: Sink) -> None:
    """Write the rest of a file, a piece at a time."""
    while data := file.read(_CHUNK):
        sink.write(data)
