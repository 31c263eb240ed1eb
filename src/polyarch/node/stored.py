"""The images of the local store: what there is, and the way from and to registries.

An image is kept under a name with all of its platforms; documents that were never fetched (of platforms
that nobody wanted here) may be missing. Nothing is unpacked, so none of this needs the engine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from polyarch.digest import Digest
from polyarch.errors import NotFound
from polyarch.golang.json import compact, read_json
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.index import choose, parse_index
from polyarch.oci.manifest import Manifest, parse_manifest
from polyarch.oci.media import is_index
from polyarch.oci.reference import Reference
from polyarch.oci.reference import parse as parse_reference
from polyarch.platforms import Platform, normalize
from polyarch.progress import CancelToken, Sink, Step, step
from polyarch.record import frozen
from polyarch.registry.client import Client
from polyarch.registry.push import PushBlob, PushDocument, push
from polyarch.registry.remote import Registries
from polyarch.store.store import Store

__all__ = ["StoredImage", "list_images", "pull_blobs", "push_stored", "stored_image"]

_AT_ONCE = 4
_DOCUMENT_LIMIT = 16 << 20
_NOWHERE = "unknown"


@frozen
class StoredImage:
    """A name of the local store. `size` is in bytes, compressed, of all that is known of."""

    name: Reference
    root: Descriptor
    platforms: tuple[Platform, ...]
    created: str
    """When the image was made, RFC 3339, as its config says; "" if it doesn't."""
    updated: float
    """When the name was last set, in seconds since the epoch."""
    size: int


def list_images(store: Store) -> tuple[StoredImage, ...]:
    """Return all images of the local store, by name."""
    return tuple(stored_image(store, parse_reference(ref.name)) for ref in store.refs.all())


def stored_image(store: Store, name: Reference) -> StoredImage:
    """Return the image of a name of the local store. Raises NotFound, IntegrityError."""
    ref = store.refs.get(name.canonical)
    root = Descriptor.from_json(json.loads(ref.descriptor))
    platforms: list[Platform] = []
    sizes: dict[Digest, int] = {root.digest: root.size}
    created = ""
    for descriptor, manifest in _manifests(store, root):
        sizes[descriptor.digest] = descriptor.size
        config: Mapping[str, object] = {}
        if manifest is not None:
            blobs = (manifest.config, *manifest.layers)
            sizes.update((blob.digest, blob.size) for blob in blobs)
            config = _config(store, manifest)
        platform = descriptor.platform or _platform(config)
        if platform is not None and platform.os != _NOWHERE:
            platforms.append(normalize(platform))
        created = created or _text(config, "created")
    return StoredImage(
        name=name,
        root=root,
        platforms=tuple(platforms),
        created=created,
        updated=ref.updated,
        size=sum(sizes.values()),
    )


def _manifests(store: Store, root: Descriptor) -> Iterator[tuple[Descriptor, Manifest | None]]:
    """Give the manifests of an image, None for those that aren't here."""
    if not store.blobs.has(root.digest):
        yield root, None
        return
    listed: tuple[Descriptor, ...] = (root,)
    if is_index(root.media_type):
        listed = parse_index(store.blobs.read(root.digest, _DOCUMENT_LIMIT)).manifests
    for descriptor in listed:
        is_here = store.blobs.has(descriptor.digest)
        data = store.blobs.read(descriptor.digest, _DOCUMENT_LIMIT) if is_here else b""
        yield descriptor, parse_manifest(data) if is_here else None


def _config(store: Store, manifest: Manifest) -> Mapping[str, object]:
    if not store.blobs.has(manifest.config.digest):
        return {}
    try:
        config = read_json(store.blobs.read(manifest.config.digest, _DOCUMENT_LIMIT))
    except ValueError:
        return {}
    return config if isinstance(config, dict) else {}


def _platform(config: Mapping[str, object]) -> Platform | None:
    system, architecture = _text(config, "os"), _text(config, "architecture")
    if not architecture:
        return None
    return Platform(os=system, architecture=architecture, variant=_text(config, "variant"))


def _text(config: Mapping[str, object], key: str) -> str:
    value = config.get(key)
    return value if isinstance(value, str) else ""


# --- pulling ---


def pull_blobs(
    store: Store,
    remote: Registries,
    name: Reference,
    platforms: Sequence[Platform],
    *,
    sink: Sink,
    cancel: CancelToken,
) -> Descriptor:
    """Fetch an image for some platforms (none: all of them) and keep its name; return the root.

    Raises NotFound, RegistryError, IntegrityError, StoreError.
    """
    with step(sink, f"pulling {name.canonical}") as shown:
        root = remote.resolve(name, cancel)
        pulling = _Pulling(store, remote, name, shown, cancel)
        pulling.run(pulling.chosen(root, platforms))
        if name.tag or not name.digest:
            text = compact(root.to_json()).decode()
            with shown.part(f"naming to {name.canonical}"):
                store.refs.set(name.canonical, text)
    return root


class _Pulling:
    """One image on its way into the store."""

    def __init__(
        self, store: Store, remote: Registries, name: Reference, shown: Step, cancel: CancelToken
    ) -> None:
        self._store = store
        self._remote = remote
        self._name = name
        self._shown = shown
        self._cancel = cancel

    def chosen(self, root: Descriptor, platforms: Sequence[Platform]) -> list[Descriptor]:
        if not is_index(root.media_type):
            return [root]
        index = parse_index(self._document(root))
        if not platforms:
            return list(index.manifests)
        return [choose(index, platform) for platform in platforms]

    def run(self, manifests: Iterable[Descriptor]) -> None:
        blobs: dict[Digest, Descriptor] = {}
        configs: list[Digest] = []
        for descriptor in manifests:
            manifest = parse_manifest(self._document(descriptor))
            self._document(manifest.config)
            configs.append(manifest.config.digest)
            blobs.update((layer.digest, layer) for layer in manifest.layers)
        with ThreadPoolExecutor(_AT_ONCE, "pull") as pool:
            for done in [pool.submit(self._blob, blob) for blob in blobs.values()]:
                done.result()
        self._store.layers.add_sources(self._name.domain, self._name.path, [*blobs, *configs])

    def _document(self, descriptor: Descriptor) -> bytes:
        blobs = self._store.blobs
        if not blobs.has(descriptor.digest):
            data = self._remote.document(self._name, descriptor, self._cancel)
            blobs.put(data, descriptor.digest)
        return blobs.read(descriptor.digest, _DOCUMENT_LIMIT)

    def _blob(self, blob: Descriptor) -> None:
        fetch = f"fetch-{blob.digest}"
        with self._store.locks.exclusive(fetch, check=self._cancel.check):
            if self._store.blobs.has(blob.digest, size=blob.size):
                return
            started = time.time()

            def progress(current: int) -> None:
                self._shown.status(blob.digest, current, blob.size, started=started)

            self._remote.fetch([self._name], blob, progress, self._cancel)


# --- pushing ---


def push_stored(
    store: Store, remote: Registries, name: Reference, *, sink: Sink, cancel: CancelToken
) -> Descriptor:
    """Push an image of the local store under its name, with all of its platforms; return the root.

    Raises NotFound (also for a platform that isn't here), RegistryError, StoreError.
    """
    ref = store.refs.get(name.canonical)
    root = Descriptor.from_json(json.loads(ref.descriptor))
    documents: list[PushDocument] = []
    blobs: list[Descriptor] = []
    for descriptor, manifest in _manifests(store, root):
        if manifest is None:
            raise NotFound(
                f"{name.familiar} isn't here for all of its platforms: {descriptor.digest} is missing",
                hint=f"polyarch pull --all-platforms {name.familiar}, or copy it from registry to "
                "registry with polyarch imagetools create",
            )
        documents.append(_document(store, descriptor))
        blobs += [manifest.config, *manifest.layers]
    with step(sink, f"pushing {name.canonical}") as shown:
        push(
            Client(remote.transport, cancel),
            name,
            _document(store, root),
            [each for each in documents if each.descriptor.digest != root.digest],
            [PushBlob(descriptor=blob, sources=_sources(store, blob, name)) for blob in blobs],
            open_blob=store.blobs.open,
            ensure_blob=_ensure(store, remote, cancel),
            on_progress=_progress(shown),
        )
    store.layers.add_sources(name.domain, name.path, [blob.digest for blob in blobs])
    return root


def _document(store: Store, descriptor: Descriptor) -> PushDocument:
    data = store.blobs.read(descriptor.digest, _DOCUMENT_LIMIT)
    return PushDocument(descriptor=descriptor, data=data)


def _sources(store: Store, blob: Descriptor, name: Reference) -> tuple[str, ...]:
    known = store.layers.sources(blob.digest, name.domain)
    return tuple(f"{name.domain}/{repository}" for repository in known)


def _ensure(store: Store, remote: Registries, cancel: CancelToken) -> Callable[[Descriptor], None]:
    """Return what fetches a layer that a build has left where it was."""

    def ensure(blob: Descriptor) -> None:
        if store.blobs.has(blob.digest, size=blob.size):
            return
        sources = [
            parse_reference(f"{host}/{repository}")
            for host, repository in store.layers.all_sources(blob.digest)
        ]
        remote.fetch(sources, blob, lambda _current: None, cancel)

    return ensure


def _progress(shown: Step) -> Callable[[Descriptor, int], None]:
    started = time.time()

    def progress(blob: Descriptor, current: int) -> None:
        shown.status(f"pushing {blob.digest}", current, blob.size, started=started)

    return progress
