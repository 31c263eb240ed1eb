"""Registries as the worker sees them (a stand-in)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from polyarch.errors import NotFound, RegistryError
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.reference import Reference
from polyarch.progress import CancelToken
from polyarch.store.store import Store
from polyarch.worker.source_image import Progress

_ACCEPT = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, */*"


@dataclass(frozen=True, slots=True, kw_only=True)
class Registries:
    """Stand-in."""

    store: Store

    def _get(self, method: str, reference: Reference, path: str):
        import urllib3

        r = urllib3.PoolManager().request(
            method,
            f"http://{reference.domain}/v2/{reference.path}/{path}",
            headers={"Accept": _ACCEPT},
            preload_content=False,
        )
        if r.status == 404:
            raise NotFound(f"{reference}: not found")
        if r.status >= 400:
            raise RegistryError(f"{reference}: {r.status}")
        return r

    def resolve(self, reference: Reference, cancel: CancelToken) -> Descriptor:
        r = self._get(
            "HEAD", reference, f"manifests/{reference.digest or reference.tag or 'latest'}"
        )
        return Descriptor(
            media_type=r.headers["content-type"],
            digest=r.headers["docker-content-digest"],
            size=int(r.headers["content-length"]),
        )

    def document(self, reference: Reference, descriptor: Descriptor, cancel: CancelToken) -> bytes:
        kind = (
            "manifests"
            if "manifest" in descriptor.media_type or "index" in descriptor.media_type
            else "blobs"
        )
        return self._get("GET", reference, f"{kind}/{descriptor.digest}").read()

    def fetch(
        self,
        references: Iterable[Reference],
        descriptor: Descriptor,
        progress: Progress,
        cancel: CancelToken,
    ) -> None:
        r = self._get("GET", list(references)[0], f"blobs/{descriptor.digest}")
        with self.store.blobs.writer(descriptor.digest, size=descriptor.size) as w:
            for c in r.stream(1 << 20):
                w.write(c)
