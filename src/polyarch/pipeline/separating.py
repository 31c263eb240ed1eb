"""Files that several machines built for their platforms -> one directory or archive, in which each platform has a directory.

A directory is written by each part for itself. Archives are kept until all are there, and then put together as they
are, owners and times included.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import cast

from polyarch.exporter.outfile import write_output
from polyarch.exporter.outputs import FILE_TYPES, is_true
from polyarch.golang.strconv import find_bool
from polyarch.layer.tar import DIRECTORY, HARD_LINK, Entry, Sink, TarWriter
from polyarch.layer.tarread import Source, TarReader
from polyarch.platforms import Platform
from polyarch.record import replace
from polyarch.request.frontend import MULTI_PLATFORM_ARG
from polyarch.request.values import BuildRequest, Output, OutputType

__all__ = ["Separating"]


class Separating:
    """The outputs of files of one request; `scratch` is a directory for archives."""

    def __init__(self, scratch: Path) -> None:
        self._scratch = scratch
        self._parts: dict[int, list[tuple[str, Path]]] = {}

    def part(self, request: BuildRequest, platforms: Sequence[Platform]) -> BuildRequest:
        """Return the request of a part with outputs of its own, in the order in which they are to be joined."""
        is_split = find_bool(request.build_args.get(MULTI_PLATFORM_ARG, "")) or len(platforms) > 1
        directory = "" if is_split else str(platforms[0]).replace("/", "_")
        outputs = [
            self._own(number, output, directory) if output.type in FILE_TYPES else output
            for number, output in enumerate(request.outputs)
        ]
        return replace(request, outputs=tuple(outputs))

    def _own(self, number: int, output: Output, directory: str) -> Output:
        """Return an output of a part, in a directory unless the builder makes that itself or nobody wants it."""
        if not is_true(output, "platform-split", default=True):
            directory = ""
        if output.type == OutputType.LOCAL:
            return replace(output, destination=os.path.join(output.destination, directory))
        parts = self._parts.setdefault(number, [])
        path = self._scratch / f"output-{number}-{len(parts)}"
        parts.append((directory, path))
        return replace(output, destination=str(path))

    def join(self, request: BuildRequest) -> None:
        """Put the archives of all parts together. Raises StoreError, and InvalidLayer for what is no archive."""
        for number, parts in self._parts.items():
            write_output(request.outputs[number].destination, partial(_write, parts))


def _write(parts: Sequence[tuple[str, Path]], sink: Sink) -> None:
    writer = TarWriter(sink)
    for directory, path in parts:
        if directory:
            writer.add(Entry(name=directory, kind=DIRECTORY, mode=0o755))
        with path.open("rb") as file, path.open("rb", buffering=0) as content:
            reader = TarReader(cast("Source", file))
            for entry in reader:
                content.seek(reader.position)
                writer.add_file(_moved(entry, directory), content.fileno())
    writer.end()


def _moved(entry: Entry, directory: str) -> Entry:
    if not directory:
        return entry
    name = f"{directory}/{entry.name.lstrip('/')}"
    link = f"{directory}/{entry.link.lstrip('/')}" if entry.kind == HARD_LINK else entry.link
    return entry._replace(name=name, link=link)
