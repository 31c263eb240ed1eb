"""Places by how they are written down: with a layer that came from there, or in a command."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from polyarch.errors import NotFound
from polyarch.images.place import Place
from polyarch.images.registry_place import RegistryPlace
from polyarch.oci.base import LAYOUT_SCHEME, PIECES, is_at_registry
from polyarch.oci.reference import Reference
from polyarch.oci.reference import parse as parse_reference
from polyarch.progress import CancelToken
from polyarch.registry.client import Client
from polyarch.registry.transport import open_transport

if TYPE_CHECKING:
    from polyarch.images.layout import Layout

__all__ = ["Places", "open_places"]


class Places:
    """Finds places for one operation, which may be ended by the token of `client`.

    `others` are neither registries nor layouts, by their names.
    """

    def __init__(self, client: Client, others: Mapping[str, Place] = MappingProxyType({})) -> None:
        self._client = client
        self._others = others
        self._layouts: dict[str, Layout] = {}

    @property
    def is_offline(self) -> bool:
        """Whether no registry is asked."""
        return self._client.is_offline

    def repository(self, reference: Reference) -> RegistryPlace:
        """Return the repository of a reference."""
        return RegistryPlace(reference=reference, client=self._client)

    @contextmanager
    def trusting(self, domain: str) -> Iterator[Places]:
        """Give the same places, but a registry is believed: it may speak HTTP, or show any certificate."""
        with self._client.trusting(domain) as client:
            yield Places(client, self._others)

    def at(self, source: str) -> Place:
        """Return the place that is called so: a reference in its repository, or a layout, `oci-layout://DIRECTORY`.

        Raises InvalidReference, NotFound.
        """
        if source in self._others:
            return self._others[source]
        if is_at_registry(source):
            return self.repository(parse_reference(source))
        if source.startswith(PIECES):
            # Only large layers of some caches lie in pieces.
            from polyarch.images.piecereader import PiecedPlace  # noqa: PLC0415

            return PiecedPlace(place=self.at(source.removeprefix(PIECES)))
        if not source.startswith(LAYOUT_SCHEME):
            raise NotFound(
                f"{source} can't be reached from here",
                hint="what came from that cache is fetched only by builds that import it",
            )
        # Few builds have to do with layouts.
        from polyarch.images.layout import Layout  # noqa: PLC0415

        directory = source.removeprefix(LAYOUT_SCHEME)
        # What is put into a layout without a name is known to the object that has put it there.
        return self._layouts.setdefault(source, Layout(Path(directory)))


@contextmanager
def open_places(environ: Mapping[str, str], cancel: CancelToken) -> Iterator[Places]:
    """Give the places that there are, with the user's settings and credentials for registries."""
    with open_transport(environ) as transport:
        yield Places(Client(transport, cancel))
