"""Where images are that commands name: at registries, which the user has set up, and in layouts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from polyarch.engine.registries import open_transport
from polyarch.images.names import Places
from polyarch.progress import CancelToken
from polyarch.registry.client import Client

__all__ = ["open_places"]


@contextmanager
def open_places(environ: Mapping[str, str], cancel: CancelToken) -> Iterator[Places]:
    """Return places by the names of images, for as long as registries are open."""
    with open_transport(environ) as transport:
        yield Places(Client(transport, cancel))
