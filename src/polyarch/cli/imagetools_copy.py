"""Copies of manifests from place to place, with all that they point at and with what is about them.

What is about a manifest (its referrers) and is copied along: attestations of BuildKit, signatures of cosign and
of sigstore. Anything else that somebody attached to an image stays where it is, as with buildx.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

from polyarch.cli.imagetools_places import Place, Places
from polyarch.digest import Digest
from polyarch.errors import IntegrityError
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.index import parse_index
from polyarch.oci.manifest import parse_manifest, subject_of
from polyarch.oci.media import is_index, is_manifest, is_nondistributable
from polyarch.progress import Step

__all__ = ["Copier", "attestation_at"]

_ATTESTATION = "application/vnd.docker.attestation.manifest.v1+json"
_COPIED = frozenset(
    {
        _ATTESTATION,
        "application/vnd.dev.cosign.artifact.sig.v1+json",
        "application/vnd.dev.sigstore.bundle.v0.3+json",
    }
)
_AT_ONCE = 4
_DEPTH = 8
_MOST = 1000
"""Manifests in one go: a registry could have its referrers refer without end."""


def attestation_at(place: Place, subject: Descriptor) -> Descriptor | None:
    """Return the attestation of a manifest at a place. Raises RegistryError, IntegrityError."""
    found = (each for each in place.referrers(subject.digest) if each.artifact_type == _ATTESTATION)
    return next(found, None)


class Copier:
    """Copies to one place, each manifest once."""

    def __init__(self, places: Places, target: Place, shown: Step) -> None:
        self._places = places
        self._target = target
        self._shown = shown
        self._done: set[Digest] = set()

    def copy(self, descriptor: Descriptor, source: Place, depth: int = 0) -> None:
        """Bring a manifest, or an index, and all that belongs to it.

        Raises RegistryError, NotFound, IntegrityError, MachineError.
        """
        if source.name == self._target.name or descriptor.digest in self._done:
            return
        if depth > _DEPTH or len(self._done) >= _MOST:
            raise IntegrityError(
                f"{source.name} has manifests in manifests without end",
                hint=f"{_MOST} are copied at most, {_DEPTH} levels deep",
            )
        self._done.add(descriptor.digest)
        target = self._target.name
        with self._shown.part(f"copying {descriptor.digest} from {source.name} to {target}"):
            data = source.manifest(descriptor)
            if is_index(descriptor.media_type):
                for each in parse_index(data).manifests:
                    self.copy(each, source, depth + 1)
            else:
                manifest = parse_manifest(data)
                self._copy_blobs((manifest.config, *manifest.layers), source)
            self._target.put_manifest(descriptor, data, subject_of(data))
        self.copy_referrers(descriptor.digest, source, depth)

    def copy_referrers(self, subject: Digest, source: Place, depth: int = 0) -> None:
        """Bring what is about a manifest."""
        if source.name == self._target.name:
            return
        for each in source.referrers(subject):
            if each.artifact_type in _COPIED and is_manifest(each.media_type):
                self.copy(each, source, depth + 1)

    def _copy_blobs(self, blobs: Iterable[Descriptor], source: Place) -> None:
        distinct = {blob.digest: blob for blob in blobs if not is_nondistributable(blob.media_type)}
        target = self._target.name
        with ThreadPoolExecutor(_AT_ONCE, "copy") as pool:
            running = [
                pool.submit(self._places.take_blob, each, source, target)
                for each in distinct.values()
            ]
            for done in running:
                done.result()
