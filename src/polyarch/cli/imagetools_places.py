"""The places that `imagetools` reads and copies between: repositories of registries, and folders."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass
from typing import Protocol

from polyarch.cli.imagetools_layout import FolderPlace
from polyarch.cli.imagetools_sources import LayoutName, Name
from polyarch.digest import Digest
from polyarch.errors import NotFound
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.reference import parse as parse_reference
from polyarch.registry.client import Client

__all__ = ["Place", "Places", "RepositoryPlace"]


class Place(Protocol):
    """Where manifests and blobs are. `name` is unique to the place."""

    @property
    def name(self) -> str:
        """The repository, or the folder."""

    def manifest(self, descriptor: Descriptor) -> bytes:
        """Return a manifest or index."""

    def blob(self, descriptor: Descriptor) -> Generator[bytes, None, None]:
        """Give the bytes of a blob."""

    def referrers(self, subject: Digest) -> tuple[Descriptor, ...]:
        """Return the manifests that are about another one."""

    def put_manifest(self, descriptor: Descriptor, data: bytes, subject: Digest | None) -> None:
        """Keep a manifest or index under its digest; `subject` is what it is about."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepositoryPlace:
    """A repository of a registry, written `domain/path`."""

    name: str
    client: Client

    def resolve(self, name: Name) -> tuple[Descriptor, bytes]:
        """Return what a name stands for. Raises NotFound, RegistryError."""
        reference = parse_reference(str(name))
        try:
            data, media_type, digest = self.client.get_manifest(reference, reference.target)
        except NotFound as error:
            raise NotFound(f"{name}: not found", hint=error.hint) from error
        return Descriptor(media_type=media_type, digest=digest, size=len(data)), data

    def manifest(self, descriptor: Descriptor) -> bytes:
        """Return a manifest or index. Raises NotFound, RegistryError."""
        return self.client.get_manifest(parse_reference(self.name), descriptor.digest)[0]

    def blob(self, descriptor: Descriptor) -> Generator[bytes, None, None]:
        """Give the bytes of a blob. Raises NotFound, RegistryError."""
        yield from self.client.read_blob(self.name, descriptor)

    def referrers(self, subject: Digest) -> tuple[Descriptor, ...]:
        """Return the manifests that are about another one. Raises RegistryError."""
        return self.client.referrers(self.name, subject)

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

    def put_manifest(self, descriptor: Descriptor, data: bytes, subject: Digest | None) -> None:
        """Keep a manifest or index under its digest. Raises RegistryError."""
        if subject is not None:
            self.client.put_referrer(self.name, descriptor, data, subject)
        elif not self.client.has_manifest(self.name, descriptor.digest):
            self.client.put_manifest(self.name, descriptor.digest, data, descriptor.media_type)

    def tag(self, name: Name, descriptor: Descriptor, data: bytes) -> None:
        """Give a manifest or index its name; by digest it gets none. Raises RegistryError."""
        target = name.tag or descriptor.digest
        self.client.put_manifest(self.name, target, data, descriptor.media_type)


def _domain(repository: str) -> str:
    return repository.partition("/")[0]


class Places:
    """The places that are involved, each made once."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._places: dict[str, RepositoryPlace | FolderPlace] = {}

    def of(self, name: Name) -> RepositoryPlace | FolderPlace:
        """Return where a name is."""
        found = self._places.get(name.place)
        if found is None:
            found = self._places[name.place] = (
                FolderPlace(folder=name.folder)
                if isinstance(name, LayoutName)
                else RepositoryPlace(name=name.place, client=self._client)
            )
        return found

    def called(self, name: str) -> RepositoryPlace | FolderPlace:
        """Return the place that has been asked for under a name."""
        return self._places[name]

    def resolve(self, name: Name) -> tuple[Descriptor, bytes]:
        """Return what a name stands for. Raises NotFound, RegistryError, IntegrityError."""
        place = self.of(name)
        if isinstance(place, RepositoryPlace):
            return place.resolve(name)
        assert isinstance(name, LayoutName)
        return place.resolve(name)

    def tag(self, name: Name, descriptor: Descriptor, data: bytes) -> None:
        """Give a manifest or index a name. Raises RegistryError, MachineError."""
        place = self.of(name)
        if isinstance(place, RepositoryPlace):
            place.tag(name, descriptor, data)
        else:
            assert isinstance(name, LayoutName)
            place.tag(name, descriptor, data)

    def take_blob(self, descriptor: Descriptor, source: Place, target: str) -> None:
        """Copy a blob to a place. Raises RegistryError, MachineError, IntegrityError."""
        place = self._places[target]
        if isinstance(place, RepositoryPlace):
            place.take_blob(descriptor, source)
        else:
            place.take_blob(descriptor, source.blob)
