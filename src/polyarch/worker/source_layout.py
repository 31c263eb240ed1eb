"""Images in OCI layouts of this machine: folders that hold images as files.

An address is `oci-layout://FOLDER[:TAG][@DIGEST]`. A tag is looked for among the names of the layout's
index; without one, `latest` is, and else the only image that there is. Everything that is read is
verified, as if a registry had sent it. Source: OCI image-spec v1.1, image-layout.md; docker buildx.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from polyarch.digest import Digest, hex_of, parse_digest
from polyarch.errors import InputError, IntegrityError, InvalidDigest, NotFound
from polyarch.inroot import open_regular, read_small
from polyarch.oci.base import LAYOUT_SCHEME
from polyarch.oci.descriptor import DOCUMENT_LIMIT, Descriptor, check_document
from polyarch.oci.fields import read_document
from polyarch.pattern import pattern
from polyarch.progress import CancelToken
from polyarch.record import frozen, replace
from polyarch.store.blobs import Blobs

__all__ = ["Layout", "LayoutAddress", "fetch_layer", "open_layout", "parse_layout"]

_CHUNK = 1 << 20
_IMAGE_NAME = "io.containerd.image.name"
_REF_NAME = "org.opencontainers.image.ref.name"
_TAG = pattern(r"(?P<folder>.*):(?P<tag>[^:/]*)\Z", re.DOTALL)
_INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
_MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"


@frozen
class LayoutAddress:
    """An image in a layout; `tag` and `digest` are "" where the address doesn't say."""

    folder: str
    tag: str = ""
    digest: str = ""

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{LAYOUT_SCHEME}{self.folder}{tag}{digest}"


def parse_layout(address: str) -> LayoutAddress:
    """Read an address. Raises InputError."""
    rest = address.removeprefix(LAYOUT_SCHEME)
    folder, at, digest = rest.rpartition("@") if "@" in rest else (rest, "", "")
    if at and "/" in digest:
        folder, digest = rest, ""  # the sign is in the name of a folder
    if digest or rest.endswith("@"):
        try:
            parse_digest(digest)
        except InvalidDigest as error:
            raise InputError(f"{address}: {error}", hint=error.hint) from error
    named = _TAG.match(folder)
    if named is not None and not os.path.isdir(folder):
        folder, tag = named["folder"], named["tag"]
    else:
        tag = ""
    if not folder:
        raise InputError(
            f"{address} names no folder", hint=f"write {LAYOUT_SCHEME}FOLDER[:TAG][@DIGEST]"
        )
    return LayoutAddress(folder=folder, tag=tag, digest=digest)


@frozen
class Layout:
    """A layout that was opened; `address` is how messages call it."""

    folder: Path
    address: LayoutAddress

    def root(self) -> Descriptor:
        """Return the manifest or index that the address means. Raises NotFound, IntegrityError."""
        wanted = self.address
        entries = self._entries()
        if wanted.digest:
            return self._by_digest(Digest(wanted.digest), entries)
        tag = wanted.tag or "latest"
        for key in (_IMAGE_NAME, _REF_NAME):
            for entry in entries:
                if entry.annotations.get(key) == tag:
                    return entry
        if len(entries) == 1 and not wanted.tag:
            return entries[0]
        raise NotFound(f"{wanted} could not be resolved: {self._choice(entries)}", hint=_HINT)

    def _choice(self, entries: tuple[Descriptor, ...]) -> str:
        names = [entry.annotations.get(_REF_NAME, "") for entry in entries]
        listed = ", ".join(dict.fromkeys(filter(None, names)))
        if not entries:
            return "the layout holds no image"
        if self.address.tag:
            return f"no image has that tag, there is {listed}" if listed else "no image has a tag"
        return f"it holds {len(entries)} images" + (f": {listed}" if listed else "")

    def _entries(self) -> tuple[Descriptor, ...]:
        path = self.folder / "index.json"
        try:
            index = read_document(self._bytes(path))
            return tuple(Descriptor.from_fields(each) for each in index.objects("manifests"))
        except (IntegrityError, InvalidDigest) as error:
            raise IntegrityError(f"{path} is no index: {error}", hint=error.hint) from error

    def _by_digest(self, digest: Digest, entries: tuple[Descriptor, ...]) -> Descriptor:
        """Return what has the digest; it need not be in the layout's index itself."""
        for entry in entries:
            if entry.digest == digest:
                return entry
        data = self._bytes(self._path(digest))
        document = read_document(data)
        kind = document.text("mediaType")
        fallback = _INDEX_TYPE if "manifests" in document else _MANIFEST_TYPE
        return Descriptor(media_type=kind or fallback, digest=digest, size=len(data))

    def document(self, descriptor: Descriptor, blobs: Blobs) -> bytes:
        """Return a manifest, index or config, which is kept in the store. Raises as `fetch`."""
        check_document(descriptor)
        with suppress(OSError):
            size = os.stat(self._path(descriptor.digest)).st_size
            check_document(replace(descriptor, size=size))
        self.fetch(descriptor, blobs, lambda _: None, CancelToken())
        return blobs.read(descriptor.digest, DOCUMENT_LIMIT)

    def fetch(
        self,
        descriptor: Descriptor,
        blobs: Blobs,
        progress: Callable[[int], None],
        cancel: CancelToken,
    ) -> None:
        """Bring a blob into the store, verified. Raises NotFound, IntegrityError, StoreError."""
        try:
            with (
                open(open_regular(self._path(descriptor.digest)), "rb", buffering=0) as stream,
                blobs.writer(descriptor.digest, size=descriptor.size or None) as writer,
            ):
                while piece := stream.read(_CHUNK):
                    cancel.check()
                    writer.write(piece)
                    progress(writer.size)
        except FileNotFoundError as error:
            raise self._missing(descriptor.digest) from error
        except OSError as error:
            raise InputError(f"can't read {error.filename}: {error.strerror}") from error

    def _path(self, digest: Digest) -> Path:
        return self.folder / "blobs" / digest.partition(":")[0] / hex_of(digest)

    def _bytes(self, path: Path) -> bytes:
        try:
            return read_small(path, DOCUMENT_LIMIT, "document of an image")
        except FileNotFoundError as error:
            if path.parent.parent.name == "blobs":
                digest = Digest(f"{path.parent.name}:{path.name}")
                raise self._missing(digest) from error
            raise NotFound(f"{path} is missing", hint=_HINT) from error
        except OSError as error:
            raise InputError(f"can't read {path}: {error.strerror}") from error

    def _missing(self, digest: Digest) -> NotFound:
        return NotFound(
            f"{self.address}: the layout has no blob {digest}",
            hint="it may hold only some platforms of its images; write it anew with all of them",
        )


_HINT = (
    f"write {LAYOUT_SCHEME}FOLDER[:TAG][@DIGEST]; polyarch build -o type=oci,tar=false,dest=FOLDER "
    "makes such a folder"
)


def open_layout(address: str) -> Layout:
    """Find the layout of an address. Raises NotFound for what isn't there, InputError for no layout."""
    wanted = parse_layout(address)
    folder = Path(wanted.folder)
    if not folder.is_dir():
        if folder.is_file():
            raise InputError(
                f"{wanted.folder} is a file, and no OCI layout",
                hint="unpack an archive first: mkdir FOLDER, then tar -xf ARCHIVE -C FOLDER",
            )
        raise NotFound(f"{wanted}: the folder {wanted.folder} was not found", hint=_HINT)
    if not (folder / "index.json").is_file():
        raise InputError(f"{wanted.folder} is no OCI layout: it has no index.json", hint=_HINT)
    return Layout(folder=folder.absolute(), address=wanted)


def fetch_layer(
    sources: Iterable[str],
    descriptor: Descriptor,
    blobs: Blobs,
    progress: Callable[[int], None],
    cancel: CancelToken,
) -> bool:
    """Bring a blob into the store from the first layout that has it; False if none of them does."""
    for source in sources:
        folder = source.removeprefix(LAYOUT_SCHEME)
        layout = Layout(folder=Path(folder), address=LayoutAddress(folder=folder))
        try:
            layout.fetch(descriptor, blobs, progress, cancel)
        except NotFound:
            continue
        return True
    return False
