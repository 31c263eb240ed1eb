"""Caches of a request as daemons are told of them: those in directories of this machine are stores of content of the session.

Source: BuildKit's `client/solve.go` (`parseCacheOptions`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from polyarch.errors import PolyarchError
from polyarch.images.layout import Layout
from polyarch.oci.base import REF_NAME
from polyarch.oci.descriptor import Descriptor
from polyarch.progress import Sink, step
from polyarch.record import replace
from polyarch.request.caches import CacheKind
from polyarch.request.values import BuildRequest, CacheEntry

__all__ = ["Caches", "without_steps"]

_MANIFEST = "cache.manifest"
_LATEST = "latest"

_UNKNOWN = f'unknown cache exporter: "{CacheKind.STEPS}"'
"""What BuildKit's daemon says of a cache of single steps; one of `polyarch serve` knows them."""

Told = tuple[str, Mapping[str, str]]
"""A type and its attributes."""


class Caches:
    """The caches that a request reads and writes."""

    def __init__(self, request: BuildRequest) -> None:
        self.layouts: dict[str, Layout] = {}
        """Directories by the daemon's names for them."""
        self._written: list[tuple[Layout, str]] = []
        self.cache_from: tuple[Told, ...] = tuple(map(_told, self._read(request.cache_from)))
        self.cache_to: tuple[Told, ...] = tuple(map(_told, request.cache_to))
        for each in request.cache_to:
            if each.type == CacheKind.LOCAL:
                layout = self._layout(each.attributes.get("dest", ""))
                self._written.append((layout, each.attributes.get("tag") or _LATEST))

    def _layout(self, directory: str) -> Layout:
        return self.layouts.setdefault(f"local:{directory}", Layout(Path(directory).absolute()))

    def _read(self, entries: tuple[CacheEntry, ...]) -> Iterator[CacheEntry]:
        """Give those that can be read: a directory that has no cache yet is passed over."""
        for each in entries:
            if each.type != CacheKind.LOCAL:
                yield each
                continue
            wanted = each.attributes.get("digest", "")
            layout = Layout(Path(each.attributes.get("src", "")).absolute())
            try:
                found, _ = layout.load(wanted or each.attributes.get("tag") or _LATEST)
            except PolyarchError:
                continue
            self._layout(each.attributes.get("src", ""))
            yield replace(each, attributes={**each.attributes, "digest": found.digest})

    def note(self, response: Mapping[str, str]) -> None:
        """Let the tags of directories stand for what a build has written there. Raises StoreError."""
        if not response.get(_MANIFEST):
            return
        root = Descriptor.from_json(json.loads(response[_MANIFEST]))
        for layout, tag in self._written:
            if layout.holds(root):
                layout.list_entries([replace(root, annotations={REF_NAME: tag})])


def _told(entry: CacheEntry) -> Told:
    return entry.type, entry.attributes


def without_steps(request: BuildRequest, error: PolyarchError, sink: Sink) -> BuildRequest | None:
    """Return a request without its caches of single steps, if it was refused for one, and say so; else None."""
    if _UNKNOWN not in str(error):
        return None
    with step(sink, "[internal] caches") as shown:
        shown.warn(
            f"caches of type={CacheKind.STEPS} aren't used: this builder is BuildKit, which has none; "
            f"type={CacheKind.REGISTRY} is one that it has"
        )
    return replace(
        request,
        cache_from=tuple(each for each in request.cache_from if each.type != CacheKind.STEPS),
        cache_to=tuple(each for each in request.cache_to if each.type != CacheKind.STEPS),
    )
