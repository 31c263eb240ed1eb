"""An OCI image layout as a place: a folder of blobs, and an index of those that have a name.

What is about another manifest (signatures, say) and can't be reached from a name is in the index, too, with
an annotation that tells of which. Source: OCI image-spec v1.1, image-layout.md; how BuildKit and buildx read
and write layouts.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from polyarch.cli.imagetools_sources import LAYOUT, LayoutName
from polyarch.digest import Digest, hex_of
from polyarch.errors import IntegrityError, MachineError, NotFound
from polyarch.golang.json import compact
from polyarch.inroot import open_regular
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.fields import read_document
from polyarch.oci.index import parse_index
from polyarch.oci.manifest import subject_of
from polyarch.oci.media import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, is_index, is_manifest

__all__ = ["FolderPlace"]

_IMAGE_NAME = "io.containerd.image.name"
_REF_NAME = "org.opencontainers.image.ref.name"
_SUBJECT = "io.containerd.manifest.subject"
_REFERS_TO = "vnd.docker.reference.digest"
_LATEST = "latest"
_CHUNK = 1 << 20
_DOCUMENT_LIMIT = 16 << 20
_DEPTH = 8

Blob = Callable[[Descriptor], Generator[bytes, None, None]]
"""Gives the bytes of a blob."""


class FolderPlace:
    """An OCI image layout; made when something is put into it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._pending: list[tuple[Descriptor, Digest]] = []
        """What is about something else; listed by itself if no name leads to it in the end."""

    @property
    def name(self) -> str:
        """The folder, told apart from a repository."""
        return f"{LAYOUT}{self.folder}"

    # --- reading ---

    def resolve(self, name: LayoutName) -> tuple[Descriptor, bytes]:
        """Return what a name stands for. Raises NotFound, IntegrityError."""
        if name.digest is not None:
            data = self._document(name.digest)
            media_type = _media_type(data)
            return Descriptor(media_type=media_type, digest=name.digest, size=len(data)), data
        descriptor = self._named(name)
        return descriptor, self.manifest(descriptor)

    def _named(self, name: LayoutName) -> Descriptor:
        listed = self._listed()
        for key in (_IMAGE_NAME, _REF_NAME):
            for each in listed:
                if each.annotations.get(key) == name.tag:
                    return each
        named = {each.digest: each for each in listed if _SUBJECT not in each.annotations}
        if name.tag == _LATEST and len(named) == 1:
            return next(iter(named.values()))  # where there is one only, no name is needed
        raise NotFound(f"reference {name} not found: not found")

    def _listed(self) -> tuple[Descriptor, ...]:
        try:
            return parse_index(_read(self.folder / "index.json")).manifests
        except OSError as error:
            path = self.folder / "index.json"
            reason = str(error.strerror).lower()
            raise NotFound(
                f"could not read {path}: open {path}: {reason}",
                hint="an OCI image layout would have it",
            ) from error

    def manifest(self, descriptor: Descriptor) -> bytes:
        """Return a manifest or index. Raises NotFound, IntegrityError."""
        return self._document(descriptor.digest)

    def _document(self, digest: Digest) -> bytes:
        data = _read(self._blob(digest))
        found = hashlib.new(digest.partition(":")[0], data, usedforsecurity=False).hexdigest()
        if found != hex_of(digest):
            raise IntegrityError(f"the bytes of {digest} in {self.folder} are others")
        return data

    def blob(self, descriptor: Descriptor) -> Generator[bytes, None, None]:
        """Give the bytes of a blob. Raises NotFound."""
        with open(open_regular(self._blob(descriptor.digest)), "rb") as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk

    def _path(self, digest: Digest) -> Path:
        return self.folder / "blobs" / digest.partition(":")[0] / hex_of(digest)

    def _blob(self, digest: Digest) -> Path:
        path = self._path(digest)
        if not path.is_file():
            raise NotFound(f"content {digest}: not found", hint=f"{self.folder} doesn't have it")
        return path

    def referrers(self, subject: Digest) -> tuple[Descriptor, ...]:
        """Return the manifests that are about another one. Raises IntegrityError."""
        path = self.folder / "index.json"
        listed = parse_index(_read(path)).manifests if path.exists() else ()
        found: dict[Digest, Descriptor] = {}
        for each in self._reachable(listed):
            if each.annotations.get(_REFERS_TO) == subject or self._subject(each) == subject:
                found[each.digest] = each
        for each in listed:
            if each.annotations.get(_SUBJECT) == subject:
                found[each.digest] = each
        return tuple(found.values())

    def _reachable(self, listed: tuple[Descriptor, ...], depth: int = 0) -> Iterator[Descriptor]:
        """Give what can be reached from the names of the layout."""
        if depth > _DEPTH:
            raise IntegrityError(f"{self.folder} has indexes in indexes, more than {_DEPTH} deep")
        for each in listed:
            if depth == 0 and _SUBJECT in each.annotations:
                continue
            yield each
            if is_index(each.media_type) and self._path(each.digest).is_file():
                inner = parse_index(self.manifest(each)).manifests
                yield from self._reachable(inner, depth + 1)

    def _subject(self, descriptor: Descriptor) -> Digest | None:
        if not is_manifest(descriptor.media_type) or not self._path(descriptor.digest).is_file():
            return None
        return subject_of(self.manifest(descriptor))

    # --- writing ---

    def take_blob(self, descriptor: Descriptor, blob: Blob) -> None:
        """Copy a blob, unless it is here."""
        self._write(descriptor.digest, blob(descriptor))

    def put_manifest(self, descriptor: Descriptor, data: bytes, subject: Digest | None) -> None:
        """Keep a manifest or index under its digest; `subject` is what it is about."""
        self._write(descriptor.digest, iter((data,)))
        if subject is not None:
            self._pending.append((descriptor, subject))

    def tag(self, name: LayoutName, descriptor: Descriptor, data: bytes) -> None:
        """Give a manifest or index a name; another with it loses it. By digest it gets none."""
        self._write(descriptor.digest, iter((data,)))
        tag = "" if name.digest else name.tag
        annotations = {**descriptor.annotations, **({_REF_NAME: tag} if tag else {})}
        with self._locked():
            self._list(replace(descriptor, annotations=annotations), tag)
            listed = parse_index(_read(self.folder / "index.json")).manifests
            reachable = {each.digest for each in self._reachable(listed)}
            for each, subject in self._pending:
                if each.digest not in reachable:
                    about = {_SUBJECT: subject, **each.annotations}
                    self._list(replace(each, annotations=about))

    def _list(self, descriptor: Descriptor, tag: str = "") -> None:
        path = self.folder / "index.json"
        document = json.loads(_read(path)) if path.exists() else {}
        entry = descriptor.to_json()
        known = document.get("manifests") or []
        kept = [each for each in known if not _is_named(each, tag) and each != entry]
        index = {
            "schemaVersion": 2,
            "mediaType": OCI_INDEX,
            **document,
            "manifests": [*kept, entry],
        }
        _replace(self.folder / "oci-layout", compact({"imageLayoutVersion": "1.0.0"}))
        _replace(path, compact(index))

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Keep others, BuildKit among them, from writing the index; leave no file of the lock."""
        path = self.folder / "index.json.lock"
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            while True:
                with open(path, "wb") as lock:
                    fcntl.flock(lock, fcntl.LOCK_EX)
                    # Whoever had it may have removed it, and another one may have made it anew.
                    if not path.exists() or not os.path.samestat(
                        os.fstat(lock.fileno()), path.stat()
                    ):
                        continue
                    try:
                        yield
                    finally:
                        path.unlink(missing_ok=True)
                    return
        except OSError as error:
            raise MachineError(f"can't write to {self.folder}: {error.strerror}") from error

    def _write(self, digest: Digest, chunks: Iterator[bytes]) -> None:
        path = self._path(digest)
        if path.exists():
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            aside = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
            found = _written(aside, chunks, digest.partition(":")[0])
            if found != hex_of(digest):
                aside.unlink()
                raise IntegrityError(f"the bytes of {digest} that came have another digest")
            aside.replace(path)
        except OSError as error:
            raise MachineError(f"can't write {path}: {error.strerror}") from error


def _read(path: Path) -> bytes:
    with open(open_regular(path), "rb") as stream:
        data = stream.read(_DOCUMENT_LIMIT + 1)
    if len(data) > _DOCUMENT_LIMIT:
        raise IntegrityError(f"{path} has more than the {_DOCUMENT_LIMIT} bytes of a document")
    return data


def _replace(path: Path, data: bytes) -> None:
    aside = path.with_name(f".{path.name}.{os.urandom(6).hex()}")
    aside.write_bytes(data)
    aside.replace(path)


def _written(path: Path, chunks: Iterator[bytes], algorithm: str) -> str:
    """Write a file; return its digest, in hex."""
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with open(path, "wb") as stream:
        for chunk in chunks:
            digest.update(chunk)
            stream.write(chunk)
    return digest.hexdigest()


def _is_named(entry: dict[str, object], tag: str) -> bool:
    annotations = entry.get("annotations")
    known = annotations if isinstance(annotations, dict) else {}
    return bool(tag) and known.get(_REF_NAME) == tag and _IMAGE_NAME not in known


def _media_type(data: bytes) -> str:
    """Return what a document says it is; what doesn't say is Docker's, by what it has."""
    fields = read_document(data)
    usual = DOCKER_MANIFEST if "config" in fields else DOCKER_INDEX
    return fields.text("mediaType") or usual
