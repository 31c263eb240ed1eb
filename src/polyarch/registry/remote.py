"""The registries as the source of base images."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from polyarch.errors import NotFound, PolyarchError, RemoteError
from polyarch.oci.descriptor import DOCUMENT_LIMIT, Descriptor, check_document
from polyarch.oci.media import is_index, is_manifest
from polyarch.oci.reference import Reference
from polyarch.progress import CancelToken
from polyarch.record import frozen
from polyarch.registry.client import Client
from polyarch.registry.pull import fetch_blob
from polyarch.registry.transport import Transport
from polyarch.store.blobs import Blobs

__all__ = ["Registries"]


@frozen
class Registries:
    """Resolves names, and brings documents and blobs into the store."""

    transport: Transport
    blobs: Blobs

    def resolve(self, reference: Reference, cancel: CancelToken) -> Descriptor:
        """Return what a name stands for now. Raises NotFound, RegistryError."""
        found = Client(self.transport, cancel).head_manifest(reference)
        if found is None:
            raise NotFound(
                f"{reference.canonical}: not found", hint="check the name and the tag of the image"
            )
        return found

    def document(self, reference: Reference, descriptor: Descriptor, cancel: CancelToken) -> bytes:
        """Return a manifest, index or config, verified. Raises RegistryError, IntegrityError."""
        check_document(descriptor)
        client = Client(self.transport, cancel)
        if is_index(descriptor.media_type) or is_manifest(descriptor.media_type):
            return client.get_manifest(reference, descriptor.digest)[0]
        fetch_blob(client, reference, descriptor, self.blobs, lambda _: None, cancel)
        return self.blobs.read(descriptor.digest, DOCUMENT_LIMIT)

    def fetch(
        self,
        references: Iterable[Reference],
        descriptor: Descriptor,
        progress: Callable[[int], None],
        cancel: CancelToken,
    ) -> None:
        """Bring a blob into the store, from the first of the repositories that gives it.

        Raises the last repository's error, NotFound if there is no repository.
        """
        client = Client(self.transport, cancel)
        failure: PolyarchError = NotFound(f"nobody is known to have the blob {descriptor.digest}")
        for reference in references:
            try:
                return fetch_blob(client, reference, descriptor, self.blobs, progress, cancel)
            except (NotFound, RemoteError) as error:
                failure = error
        raise failure
