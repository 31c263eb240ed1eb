"""Fetching blobs into the store."""

from __future__ import annotations

from collections.abc import Callable

from polyarch.oci.descriptor import Descriptor
from polyarch.oci.reference import Reference
from polyarch.progress import CancelToken
from polyarch.registry.client import Client
from polyarch.store.blobs import Blobs

__all__ = ["OnProgress", "fetch_blob"]

OnProgress = Callable[[int], None]
"""Told how many bytes have come so far."""


def fetch_blob(
    client: Client,
    reference: Reference,
    descriptor: Descriptor,
    blobs: Blobs,
    on_progress: OnProgress,
    cancel: CancelToken,
) -> None:
    """Fetch a blob of the repository of `reference` into the store, verified.

    Raises NotFound, RegistryError, IntegrityError, StoreError, Cancelled.
    """
    with blobs.writer(descriptor.digest, size=descriptor.size) as writer:
        for chunk in client.read_blob(reference.repository, descriptor):
            cancel.check()
            writer.write(chunk)
            on_progress(writer.size)
