"""An image as an OCI image layout, in a folder or as a tar archive; also the archive of `docker load`.

Source: OCI image-spec v1.1, image-layout.md; order, modes and annotations as BuildKit writes them.
"""

from __future__ import annotations

import fcntl
import json
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Protocol

from polyarch.digest import Digest, hex_of
from polyarch.errors import InputError
from polyarch.exporter.outfile import made_folder
from polyarch.exporter.result import IMAGE_NAME, REF_NAME, Export
from polyarch.golang.json import compact
from polyarch.layer.tar import DIRECTORY, Entry, Sink, TarWriter
from polyarch.oci.descriptor import Descriptor
from polyarch.record import replace
from polyarch.store.trouble import output_trouble

__all__ = ["BlobReader", "write_archive", "write_folder"]

_LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'
_LOCK_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
_INDEX_TYPE = "application/vnd.oci.image.index.v1+json"


class BlobReader(Protocol):
    """Where the bytes of blobs are read; `polyarch.store.blobs.Blobs` is one."""

    def open(self, digest: Digest) -> BinaryIO:
        """Open a blob for reading."""

    def size(self, digest: Digest) -> int:
        """Return its size in bytes."""


def _index_json(entries: Sequence[dict[str, object]]) -> bytes:
    return compact({"schemaVersion": 2, "mediaType": _INDEX_TYPE, "manifests": list(entries)})


def write_archive(export: Export, blobs: BlobReader, sink: Sink, *, for_docker: bool) -> None:
    """Write the layout as a tar archive, entries sorted by name.

    `for_docker` adds the `manifest.json` that `docker load` reads, which can only tell of one image.
    Raises InputError if there are more.
    """
    files: dict[str, bytes | Digest] = {
        "index.json": _index_json([entry.to_json() for entry in export.entries()]),
        "oci-layout": _LAYOUT,
    }
    if for_docker:
        files["manifest.json"] = _docker_manifest(export)
    files |= {f"blobs/{digest.replace(':', '/')}": digest for digest in export.digests}
    writer = TarWriter(sink)
    writer.add(Entry(name="blobs", kind=DIRECTORY, mode=0o755))
    writer.add(Entry(name="blobs/sha256", kind=DIRECTORY, mode=0o755))
    for name, content in sorted(files.items()):
        if isinstance(content, bytes):
            mode = 0o444 if name == "oci-layout" else 0o644
            writer.add(Entry(name=name, mode=mode, size=len(content)), content)
        else:
            with blobs.open(content) as stream:
                size = blobs.size(content)
                writer.add_file(Entry(name=name, mode=0o444, size=size), stream.fileno())
    writer.end()


def _docker_manifest(export: Export) -> bytes:
    if len(export.images) > 1:
        raise InputError(
            "docker exporter does not currently support exporting manifest lists",
            hint="build for one platform, or use type=oci",
        )
    (image,) = export.images
    entry = {
        "Config": _blob_path(image.config.descriptor.digest),
        "RepoTags": [name.familiar for name in export.names] or None,
        "Layers": [_blob_path(layer.descriptor.digest) for layer in image.layers],
    }
    return compact([entry])


def _blob_path(digest: Digest) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def write_folder(export: Export, blobs: BlobReader, folder: Path) -> None:
    """Add the image to the layout in `folder`, which is made if it isn't there.

    An entry of the same name is replaced, others stay. The index comes last, so that it never names
    what isn't there. Nothing is written through links that lie in the folder. Raises StoreError,
    InputError; the index is then as it was.
    """
    with output_trouble("write to", folder), made_folder(folder):
        for name in ("blobs", "blobs/sha256", "ingest"):
            _make_folder(folder / name)
        for digest in export.digests:
            _copy_blob(digest, blobs, folder)
        with _locked(folder / "index.json.lock"):
            kept = _kept_entries(folder / "index.json", export)
            entries = [entry.to_json() for entry in _named(export)]
            _write(folder / "index.json", _index_json([*kept, *entries]))
            _write(folder / "oci-layout", _LAYOUT)


def _make_folder(path: Path) -> None:
    if path.is_symlink():
        raise InputError(
            f"{path} is a link, and may lead out of the layout",
            hint="put the folder itself there, or choose another place",
        )
    path.mkdir(exist_ok=True)


def _named(export: Export) -> list[Descriptor]:
    """Give a result without a name the tag `latest`, as it must be found again in the folder."""
    return [
        replace(entry, annotations={**entry.annotations, REF_NAME: "latest"})
        if REF_NAME not in entry.annotations
        else entry
        for entry in export.entries()
    ]


def _kept_entries(path: Path, export: Export) -> list[dict[str, object]]:
    try:
        index = json.loads(path.read_bytes())
        present = [entry for entry in index["manifests"] if isinstance(entry, dict)]
    except FileNotFoundError:
        return []
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path} is no index of an OCI layout", hint="choose another folder"
        ) from error
    replaced = {_key(entry.annotations) for entry in _named(export)}
    return [entry for entry in present if _key(entry.get("annotations") or {}) not in replaced]


def _key(annotations: object) -> tuple[object, object]:
    if not isinstance(annotations, dict):
        return None, None
    return annotations.get(IMAGE_NAME), annotations.get(REF_NAME)


def _copy_blob(digest: Digest, blobs: BlobReader, folder: Path) -> None:
    target = folder / _blob_path(digest)
    size = blobs.size(digest)
    with suppress(FileNotFoundError):
        status = target.lstat()
        if stat.S_ISREG(status.st_mode) and status.st_size == size:
            return
    aside = folder / "ingest" / f"{hex_of(digest)}.{os.urandom(6).hex()}"
    try:
        with blobs.open(digest) as source, aside.open("xb") as copy:
            left = size
            while left:
                left -= os.sendfile(copy.fileno(), source.fileno(), None, left)
        aside.chmod(0o444)
        aside.rename(target)
    finally:
        aside.unlink(missing_ok=True)


def _write(path: Path, data: bytes) -> None:
    aside = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
    try:
        aside.write_bytes(data)
        aside.rename(path)
    finally:
        aside.unlink(missing_ok=True)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that leaves no file behind."""
    lock = _lock(path)
    with lock:
        yield
        path.unlink(missing_ok=True)


def _lock(path: Path) -> BinaryIO:
    while True:
        lock = open(os.open(path, _LOCK_FLAGS, 0o644), "wb")  # noqa: SIM115 the caller closes it
        fcntl.flock(lock, fcntl.LOCK_EX)
        # Who had it before has removed the file, and somebody else may hold a lock on a new one.
        with suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(lock.fileno()), path.stat()):
                return lock
        lock.close()
