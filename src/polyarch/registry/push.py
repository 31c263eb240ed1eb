"""Pushing an image: whatever the registry lacks, and a name only once all behind it is there."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Sequence
from itertools import takewhile
from typing import BinaryIO

from polyarch.digest import Digest
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.media import is_nondistributable
from polyarch.oci.reference import Reference
from polyarch.record import frozen
from polyarch.registry.client import Client

__all__ = ["OnProgress", "PushBlob", "PushDocument", "nearest", "push"]

_AT_ONCE = 4
_CHUNK = 1 << 20

OnProgress = Callable[[Descriptor, int], None]
"""Told how many bytes of a blob are there."""


@frozen
class PushDocument:
    """A manifest or index with its bytes."""

    descriptor: Descriptor
    data: bytes


@frozen
class PushBlob:
    """A blob to push; `sources` are repositories (`domain/path`) that are known to have it."""

    descriptor: Descriptor
    sources: tuple[str, ...] = ()


def push(
    client: Client,
    reference: Reference,
    root: PushDocument,
    manifests: Iterable[PushDocument],
    blobs: Iterable[PushBlob],
    *,
    open_blob: Callable[[Digest], BinaryIO],
    ensure_blob: Callable[[Descriptor], None],
    on_progress: OnProgress = lambda _blob, _bytes: None,
) -> None:
    """Push an image under the tag of `reference`, or by digest alone if it has none but a digest.

    `root` is the manifest or index that gets the name, `manifests` are the others. `ensure_blob`
    fetches a blob that isn't in the store; it is only called if the registry can't get it elsewhere.
    `on_progress` is told the bytes of a blob that are there. Raises RegistryError and what the two
    functions raise.
    """
    repository = reference.repository
    if not client.has_manifest(repository, root.descriptor.digest):
        pushing = _Pushing(
            client=client,
            repository=repository,
            open_blob=open_blob,
            ensure_blob=ensure_blob,
            on_progress=on_progress,
        )
        pushing.all_blobs(_distinct(blobs))
        for document in manifests:
            _put(client, repository, document.descriptor.digest, document)
    elif reference.digest and not reference.tag:
        return
    by_digest = reference.digest and not reference.tag
    target = root.descriptor.digest if by_digest else reference.tag or "latest"
    _put(client, repository, target, root)


def _put(client: Client, repository: str, target: str, document: PushDocument) -> None:
    client.put_manifest(repository, target, document.data, document.descriptor.media_type)


def _distinct(blobs: Iterable[PushBlob]) -> Sequence[PushBlob]:
    return tuple(
        {
            blob.descriptor.digest: blob
            for blob in blobs
            if not is_nondistributable(blob.descriptor.media_type)
        }.values()
    )


@frozen
class _Pushing:
    client: Client
    repository: str
    open_blob: Callable[[Digest], BinaryIO]
    ensure_blob: Callable[[Descriptor], None]
    on_progress: OnProgress

    def all_blobs(self, blobs: Sequence[PushBlob]) -> None:
        """Push blobs side by side; the first error ends those that haven't begun."""
        # Most pushes of an unchanged image have nothing to upload.
        from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415

        with ThreadPoolExecutor(_AT_ONCE, "push") as pool:
            running = [pool.submit(self._blob, blob) for blob in blobs]
            try:
                for done in running:
                    done.result()
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _blob(self, blob: PushBlob) -> None:
        descriptor = blob.descriptor
        self.on_progress(descriptor, 0)
        if not self._is_there(blob):
            self.ensure_blob(descriptor)
            self.client.upload_blob(
                self.repository,
                descriptor.digest,
                descriptor.size,
                lambda: self._read(descriptor),
            )
        self.on_progress(descriptor, descriptor.size)

    def _is_there(self, blob: PushBlob) -> bool:
        digest = blob.descriptor.digest
        if self.client.has_blob(self.repository, digest):
            return True
        source = nearest(self.repository, blob.sources)
        return bool(source) and self.client.mount_blob(self.repository, digest, source)

    def _read(self, descriptor: Descriptor) -> Generator[bytes, None, None]:
        done = 0
        with self.open_blob(descriptor.digest) as file:
            while chunk := file.read(_CHUNK):
                yield chunk
                done += len(chunk)
                if done < descriptor.size:  # all of it is told of when the registry has it
                    self.on_progress(descriptor, done)


def nearest(repository: str, sources: Iterable[str]) -> str:
    """Return the source at the registry of `repository` whose path is most like it, or ""."""
    domain = repository.partition("/")[0]
    near = [each for each in sources if each.partition("/")[0] == domain and each != repository]
    return max(near, key=lambda each: _shared(each, repository), default="")


def _shared(one: str, other: str) -> int:
    """Count the components that two paths begin with alike."""
    pairs = zip(one.split("/"), other.split("/"), strict=False)
    return len(list(takewhile(lambda pair: pair[0] == pair[1], pairs)))
