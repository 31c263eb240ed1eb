"""A place of images: a repository of a registry, an OCI image layout, or the local store.

A copy (see `transfer`) asks each end for this much:

    of its source                            of its target
    manifest    a manifest or index          is_whole      is an image there with all that it needs?
    open_blob   the bytes of a blob          take_blob     get a blob
    origins     where else a blob is         put_manifest  keep a manifest or index under its digest
    referrers   what is about a manifest     tag           give a manifest or index a name

Manifests go through the copy, which reads them to know what they need. Blobs don't: the target takes them, as only
it knows the cheapest way. A registry mounts what one of `origins` at the same host has and uploads the rest,
a layout copies files, the store waits if somebody is fetching the same blob already. So a layer that was
never fetched costs nothing where it can be mounted.

The manifests that a place gives are verified. The bytes of a blob aren't: who keeps them does that, so that
they are hashed once.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from typing import BinaryIO, Protocol

from polyarch.digest import Digest, fits
from polyarch.errors import IntegrityError
from polyarch.oci.descriptor import DOCUMENT_LIMIT, Descriptor, check_document
from polyarch.record import frozen

__all__ = ["BlobReader", "OnBytes", "Place", "Seal", "Source", "Target", "Unlinked", "read_blob"]

OnBytes = Callable[[int], None]
"""Told how many bytes of a blob there are so far."""


@frozen
class BlobReader:
    """A blob that can be read, as often as need be.

    `chunks` gives its bytes from the start, not verified; close it, as a connection may hang on it. `file`
    opens it where it is a file of this machine whose bytes are known to be right.
    """

    chunks: Callable[[], Generator[bytes, None, None]]
    file: Callable[[], BinaryIO] | None = None


class Source(Protocol):
    """Where a copy comes from. May be used from many threads at once."""

    @property
    def name(self) -> str:
        """What tells the place from all others: a repository (`domain/path`), or a layout's address."""

    def manifest(self, descriptor: Descriptor) -> bytes:
        """Return a manifest or index. Raises NotFound, IntegrityError."""

    def open_blob(self, blob: Descriptor) -> BlobReader:
        """Return a blob to be read; what has to be done first for that is done now. Raises NotFound."""

    def origins(self, digest: Digest) -> Iterable[str]:
        """Give the repositories that are known to have a blob, the likeliest first."""

    def referrers(self, subject: Digest) -> tuple[Descriptor, ...]:
        """Return the manifests that are about another one, as signatures are."""


class Target(Protocol):
    """Where a copy goes. May be used from many threads at once."""

    @property
    def name(self) -> str:
        """What tells the place from all others."""

    def is_whole(self, digest: Digest) -> bool:
        """Return whether a manifest or index is here for certain, with all that it leads to."""

    def take_blob(self, blob: Descriptor, source: Source, on_bytes: OnBytes) -> None:
        """Get a blob unless it is here; `on_bytes` is told how far that is, if there is something to do.

        Raises what reading the source raises, and IntegrityError for other bytes than those of the digest.
        """

    def put_manifest(self, descriptor: Descriptor, data: bytes, subject: Digest | None) -> None:
        """Keep a manifest or index under its digest; `subject` is what it is about."""

    def tag(self, tag: str, descriptor: Descriptor, data: bytes) -> None:
        """Keep a manifest or index under a name as well; "" gives it none but its digest."""


class Place(Source, Target, Protocol):
    """Where images are: both ends of a copy, and a name to begin with."""

    def load(self, target: str) -> tuple[Descriptor, bytes]:
        """Return what a tag or a digest stands for, and its bytes. Raises NotFound."""

    def holds(self, blob: Descriptor) -> bool:
        """Return whether a blob is here, without reading it."""


Seal = Callable[[Place, Descriptor], None]
"""Signs an image at a place."""


class Unlinked:
    """What a place says that only has blobs: no registry mounts from it, and nothing in it refers to another thing."""

    def origins(self, _digest: Digest) -> Iterable[str]:
        """Return nothing. See Source."""
        return ()

    def referrers(self, _subject: Digest) -> tuple[Descriptor, ...]:
        """Return nothing. See Source."""
        return ()

    def is_whole(self, _digest: Digest) -> bool:
        """Return False: blobs go one by one. See Target."""
        return False


def read_blob(place: Source, blob: Descriptor, limit: int = DOCUMENT_LIMIT) -> bytes:
    """Return a blob that is no larger than `limit` bytes, as a config is, verified.

    Raises NotFound, IntegrityError, and what reading the place raises.
    """
    check_document(blob, limit)
    data = bytearray()
    with closing(place.open_blob(blob).chunks()) as chunks:
        for chunk in chunks:
            data += chunk
            if len(data) > blob.size:
                raise IntegrityError(
                    f"{blob.digest} at {place.name} has more than the {blob.size} bytes that were promised"
                )
    if not fits(data, blob.digest):
        raise IntegrityError(f"the bytes of {blob.digest} at {place.name} have another digest")
    return bytes(data)
