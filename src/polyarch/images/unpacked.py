"""An OCI image layout in an archive -> one in a directory, for a time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from polyarch.errors import InputError, InvalidLayer, NotFound
from polyarch.layer.compress import decompressed
from polyarch.layer.tar import FILE
from polyarch.layer.tarread import TarReader
from polyarch.pattern import pattern

__all__ = ["unpacked"]

_MADE_BY = "polyarch build --shard PLATFORM -o FILE.tar makes an archive that can be joined"
_FILES = pattern(r"index\.json|oci-layout|blobs/[a-z0-9]+/[a-f0-9]{32,128}")
"""All that is read of a layout: nothing else is written, so no name leads anywhere."""


@contextmanager
def unpacked(archive: Path) -> Iterator[Path]:
    """Give a directory with the layout of an archive; it ends with the block.

    Blobs are verified by whoever reads them. Raises NotFound, InputError for what is no such archive.
    """
    # Beside the archive, where there was room for it; /tmp is memory on many machines.
    with tempfile.TemporaryDirectory(
        prefix=".polyarch-join-", dir=archive.absolute().parent
    ) as name:
        directory = Path(name)
        try:
            _unpack(archive, directory)
        except FileNotFoundError as error:
            raise NotFound(f"{archive} was not found") from error
        except (OSError, InvalidLayer) as error:
            raise InputError(
                f"can't read {archive}: {error}",
                hint=_MADE_BY,
            ) from error
        if not (directory / "index.json").is_file():
            raise InputError(
                f"{archive} isn't an archive of an OCI layout: it has no index.json", hint=_MADE_BY
            )
        yield directory


def _unpack(archive: Path, directory: Path) -> None:
    with archive.open("rb") as stream, decompressed(stream) as plain:
        reader = TarReader(plain)
        for entry in reader:
            name = entry.name.removeprefix("./")
            if entry.kind == FILE and _FILES.fullmatch(name):
                path = directory / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("xb") as file:
                    for data in reader.content():
                        file.write(data)
