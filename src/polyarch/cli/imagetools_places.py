"""The places that `imagetools create` copies between: repositories of registries, and folders."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from polyarch.cli.imagetools_sources import layout_blob
from polyarch.digest import Digest, hex_of, sha256
from polyarch.errors import IntegrityError, MachineError
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.encode import compact
from polyarch.oci.media import OCI_INDEX
from polyarch.oci.reference import Reference
from polyarch.oci.reference import parse as parse_reference
from polyarch.registry.client import Client

__all__ = ["FolderPlace", "Place", "RepositoryPlace"]

_REF_NAME = "org.opencontainers.image.ref.name"
_CHUNK = 1 << 20


class Place(Protocol):
    """Where manifests and blobs are. `name` is unique to the place."""

    @property
    def name(self) -> str:
        """The repository, or the folder."""

    def manifest(self, descriptor: Descriptor) -> bytes:
        """Return a manifest or index."""

    def blob(self, descriptor: Descriptor) -> Generator[bytes, None, None]:
        """Give the bytes of a blob."""

    def take_blob(self, descriptor: Descriptor, source: Place) -> None:
        """Copy a blob from another place, unless it is here."""

    def put_manifest(self, descriptor: Descriptor, data: bytes) -> None:
        """Keep a manifest or index under its digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryPlace:
    """A repository of a registry, written `domain/path`."""

    name: str
    client: Client

    def manifest(self, descriptor: Descriptor) -> bytes:
        """Return a manifest or index. Raises NotFound, RegistryError."""
        return self.client.get_manifest(parse_reference(self.name), descriptor.digest)[0]

    def blob(self, descriptor: Descriptor) -> Generator[bytes, None, None]:
        """Give the bytes of a blob. Raises NotFound, RegistryError."""
        yield from self.client.read_blob(self.name, descriptor)

    def take_blob(self, descriptor: Descriptor, source: Place) -> None:
        """Mount a blob if it is at the same registry, else stream it from there to here."""
        if self.client.has_blob(self.name, descriptor.digest):
            return
        is_near = isinstance(source, RepositoryPlace) and _domain(source.name) == _domain(self.name)
        if is_near and self.client.mount_blob(self.name, descriptor.digest, source.name):
            return
        self.client.upload_blob(
            self.name, descriptor.digest, descriptor.size, lambda: source.blob(descriptor)
        )

    def put_manifest(self, descriptor: Descriptor, data: bytes) -> None:
        """Keep a manifest or index under its digest. Raises RegistryError."""
        if not self.client.has_manifest(self.name, descriptor.digest):
            self.client.put_manifest(self.name, descriptor.digest, data, descriptor.media_type)

    def tag(self, reference: Reference, descriptor: Descriptor, data: bytes) -> None:
        """Give a manifest or index its name. Raises RegistryError."""
        target = reference.tag or "latest"
        self.client.put_manifest(self.name, target, data, descriptor.media_type)


def _domain(repository: str) -> str:
    return repository.partition("/")[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class FolderPlace:
    """An OCI image layout; made when something is put into it."""

    folder: Path

    @property
    def name(self) -> str:
        """The folder, told apart from a repository."""
        return f"oci-layout://{self.folder}"

    def manifest(self, descriptor: Descriptor) -> bytes:
        """Return a manifest or index. Raises NotFound, IntegrityError."""
        data = layout_blob(self.folder, descriptor.digest).read_bytes()
        if sha256(data) != descriptor.digest:
            raise IntegrityError(f"the bytes of {descriptor.digest} in {self.folder} are others")
        return data

    def blob(self, descriptor: Descriptor) -> Generator[bytes, None, None]:
        """Give the bytes of a blob. Raises NotFound."""
        with open(layout_blob(self.folder, descriptor.digest), "rb") as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk

    def take_blob(self, descriptor: Descriptor, source: Place) -> None:
        """Copy a blob from another place, unless it is here."""
        self._write(descriptor.digest, source.blob(descriptor))

    def put_manifest(self, descriptor: Descriptor, data: bytes) -> None:
        """Keep a manifest or index under its digest."""
        self._write(descriptor.digest, iter((data,)))

    def tag(self, tag: str, descriptor: Descriptor) -> None:
        """Give a manifest or index a name, or none if `tag` is ""; another with it loses it."""
        with self._locked():
            path = self.folder / "index.json"
            known = json.loads(path.read_bytes())["manifests"] if path.exists() else []
            name = {_REF_NAME: tag} if tag else {}
            entry = {**descriptor.to_json(), **({"annotations": name} if tag else {})}
            kept = [each for each in known if not _is_same(each, entry, tag)]
            document = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [*kept, entry]}
            self._replace(self.folder / "oci-layout", compact({"imageLayoutVersion": "1.0.0"}))
            self._replace(path, compact(document))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.folder / "index.json.lock", "wb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _write(self, digest: Digest, chunks: Iterator[bytes]) -> None:
        path = self.folder / "blobs" / digest.partition(":")[0] / hex_of(digest)
        if path.exists():
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            aside = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
            found = _written(aside, chunks)
            if found != hex_of(digest):
                aside.unlink()
                raise IntegrityError(f"the bytes of {digest} that came have another digest")
            aside.replace(path)
        except OSError as error:
            raise MachineError(f"can't write {path}: {error.strerror}") from error

    @staticmethod
    def _replace(path: Path, data: bytes) -> None:
        aside = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
        aside.write_bytes(data)
        aside.replace(path)


def _written(path: Path, chunks: Iterator[bytes]) -> str:
    """Write a file; return the sha256 of it, in hex."""
    digest = hashlib.sha256()
    with open(path, "wb") as stream:
        for chunk in chunks:
            digest.update(chunk)
            stream.write(chunk)
    return digest.hexdigest()


def _is_same(known: dict[str, object], entry: dict[str, object], tag: str) -> bool:
    annotations = known.get("annotations")
    name = annotations.get(_REF_NAME, "") if isinstance(annotations, dict) else ""
    return name == tag if tag else known.get("digest") == entry["digest"]
