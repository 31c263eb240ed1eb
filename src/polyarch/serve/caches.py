"""Caches and layouts in directories of the client: what is read is brought here, what is written is sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from polyarch.digest import parse_digest
from polyarch.errors import InputError, NotFound
from polyarch.oci.base import LAYOUT_SCHEME
from polyarch.request.values import CacheEntry
from polyarch.serve.asking import Client
from polyarch.serve.content import fetch_layout, read_manifest_entry, send_layout
from polyarch.serve.messages import SolveRequest, cache_imports
from polyarch.store.store import Store

__all__ = ["ClientCaches"]


class ClientCaches:
    """Caches and layouts in directories of the client: copies here, which end with the block of `stack`."""

    def __init__(self, client: Client, stack: ExitStack, store: Store) -> None:
        self._client = client
        self._stack = stack
        self._store = store
        self._written: list[tuple[str, Path]] = []

    def directory(self, kind: str) -> Path:
        """Return a fresh name for a directory that ends with the build."""
        path = self._store.temporary(kind)
        self._stack.callback(self._discard, path)
        return path

    def _discard(self, path: Path) -> None:
        if path.exists():
            self._store.discard(path)

    def bring_layout(self, address: str, store: str = "") -> str:
        """Return the address here of a layout in a store of the client's, by default the one that it names. Raises InputError, NotFound, RemoteError."""
        name, at, digest = address.removeprefix(LAYOUT_SCHEME).rpartition("@")
        if not at:
            raise InputError(f"oci-layout reference {address} has no digest")
        found = parse_digest(digest)
        # A tag may be there, which says nothing beside the digest.
        store = store or (name.rpartition(":")[0] if ":" in name.rpartition("/")[2] else name)
        path = self.directory("layout")
        self._client.wait(fetch_layout(self._client.session, f"oci:{store}", found, path, "latest"))
        return f"{LAYOUT_SCHEME}{path}@{found}"

    def to_read(self, request: SolveRequest) -> Iterator[CacheEntry]:
        """Yield the caches to read; those in the client's directories are copied here first."""
        seen = []
        for entry in (*request.cache_from, *cache_imports(request.attributes)):
            if entry in seen:
                continue
            seen.append(entry)
            if entry.type != "local":
                yield entry
                continue
            path = self.directory("cache")
            digest = entry.attributes.get("digest", "")
            try:
                store = f"local:{entry.attributes.get('src', '')}"
                self._client.wait(
                    fetch_layout(self._client.session, store, parse_digest(digest), path, "latest")
                )
            except NotFound:
                continue  # a cache that isn't there any more
            yield CacheEntry(type="local", attributes={"src": str(path), "digest": digest})

    def to_write(self, request: SolveRequest) -> Iterator[CacheEntry]:
        """Yield the caches to write, with directories here in place of the client's."""
        for entry in request.cache_to:
            if entry.type != "local":
                yield entry
                continue
            path = self.directory("cache")
            self._written.append((f"local:{entry.attributes.get('dest', '')}", path))
            changed = {**entry.attributes, "dest": str(path), "tag": "latest"}
            yield CacheEntry(type="local", attributes=changed)

    def send(self) -> dict[str, str]:
        """Send the caches that were written; returns what the client is told about the last one."""
        found: Mapping[str, str] = {}
        for store, path in self._written:
            self._client.wait(send_layout(self._client.session, store, path))
            if entry := read_manifest_entry(path):
                found = {"cache.manifest": entry}
        return dict(found)
