"""The images of the local store: what there is, and the way from and to registries.

An image is kept under a name with all of its platforms; documents that were never fetched (of platforms
that nobody wanted here) may be missing. Nothing is unpacked, so none of this needs the engine.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

from polyarch.digest import Digest, hex_of
from polyarch.errors import InputError, IntegrityError, InvalidReference, NotFound, OutOfReach
from polyarch.golang.json import compact
from polyarch.images.known import KnownImage, KnownNames, missing_image
from polyarch.images.place import Seal
from polyarch.images.places import Places
from polyarch.images.registry_place import Early, not_early
from polyarch.images.store_place import Fetcher, KeptDocuments, StorePlace
from polyarch.images.tally import Arrival, Pushed, Tally
from polyarch.images.transfer import Wanted, Watch, copy
from polyarch.oci.config import ImageConfig, parse_config
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.index import parse_index
from polyarch.oci.manifest import Manifest, parse_manifest
from polyarch.oci.media import is_config, is_index
from polyarch.oci.platform import NOWHERE
from polyarch.oci.reference import Reference
from polyarch.oci.reference import parse as parse_reference
from polyarch.platforms import Platform, normalize
from polyarch.progress import CancelToken, Sink, Step, ignore_events, step
from polyarch.record import frozen, replace
from polyarch.store.store import Store

__all__ = [
    "Along",
    "StoredImage",
    "image_parts",
    "keep_image",
    "list_images",
    "manifests_of",
    "pull_image",
    "push",
    "push_image",
    "remove_image",
    "stored_image",
    "tag_image",
]

_LATEST = "latest"
_SHORT = 12
"""Digits of a digest, as lists show it."""


@frozen
class Along:
    """What goes along with an image that is pushed: manifests that are about its own, and who signs it.

    `seal` is called when all of it is there, and before it has its name. `early` knows which blobs were sent before.
    """

    referrers: Sequence[Descriptor] = ()
    seal: Seal | None = None
    early: Early = not_early


_ALONE = Along()


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
    found = []
    for ref in store.refs.all():
        with suppress(NotFound):  # a pushed one may be collected meanwhile
            found.append(stored_image(store, parse_reference(ref.name)))
    return tuple(found)


def stored_image(store: Store, name: Reference) -> StoredImage:
    """Return the image of a name of the local store. Raises NotFound, IntegrityError."""
    ref = store.refs.get(name.canonical)
    root = Descriptor.from_json(json.loads(ref.descriptor))
    platforms: list[Platform] = []
    sizes: dict[Digest, int] = {root.digest: root.size}
    created = ""
    for descriptor, manifest in manifests_of(store, root):
        sizes[descriptor.digest] = descriptor.size
        config = None
        if manifest is not None:
            blobs = (manifest.config, *manifest.layers)
            sizes.update((blob.digest, blob.size) for blob in blobs)
            config = _config(store, manifest)
        platform = descriptor.platform
        if config is not None:
            if platform is None and config.platform.architecture:
                platform = config.platform
            created = created or config.created
        if platform is not None and platform.os != NOWHERE.os:
            platforms.append(normalize(platform))
    return StoredImage(
        name=name,
        root=root,
        platforms=tuple(platforms),
        created=created,
        updated=ref.updated,
        size=sum(sizes.values()),
    )


def manifests_of(store: Store, root: Descriptor) -> Iterator[tuple[Descriptor, Manifest | None]]:
    """Give the manifests of an image, None for those that aren't here."""
    followed: set[Digest] = set()
    todo = [root]
    while todo:
        descriptor = todo.pop(0)
        if not store.blobs.has(descriptor.digest):
            yield descriptor, None
            continue
        data = store.blobs.read(descriptor.digest)
        if not is_index(descriptor.media_type):
            yield descriptor, parse_manifest(data)
        elif descriptor.digest not in followed:
            # A manifest may be there for two platforms; an index twice would only make a long way longer.
            followed.add(descriptor.digest)
            todo = [*parse_index(data).manifests, *todo]


def image_parts(
    store: Store, root: Descriptor
) -> Iterator[tuple[Descriptor, Manifest, ImageConfig]]:
    """Give the manifests of an image that are here with their configs: one for each platform."""
    for descriptor, manifest in manifests_of(store, root):
        config = _config(store, manifest) if manifest is not None else None
        if manifest is not None and config is not None and config.platform.os != NOWHERE.os:
            yield descriptor, manifest, config


def _config(store: Store, manifest: Manifest) -> ImageConfig | None:
    """Return the config of an image; None if it isn't here or is nothing that an image can have."""
    if not store.blobs.has(manifest.config.digest):
        return None
    try:
        return parse_config(store.blobs.read(manifest.config.digest))
    except IntegrityError:
        return None


# --- names ---


def keep_image(store: Store, name: Reference, root: Descriptor) -> None:
    """Let a name stand for an image whose documents are in the store; it stays until somebody removes it."""
    store.refs.set(name.canonical, compact(root.to_json()).decode())


def tag_image(store: Store, name: Reference, other: Reference) -> None:
    """Let another name stand for an image as well. Raises NotFound; InputError for a name by digest."""
    if other.digest:
        raise InputError(
            "refusing to create a tag with a digest reference", hint="name a tag: NAME:TAG"
        )
    store.refs.set(other.canonical, store.refs.get(name.canonical).descriptor)


def remove_image(store: Store, wanted: str) -> tuple[Reference, ...]:
    """Remove a name, or all names of a digest, of which the first digits do; return the names.

    A name without a tag is "latest". What it stood for is left to the collector. Raises NotFound.
    """
    try:
        name = parse_reference(parse_reference(wanted).canonical)
    except InvalidReference:
        name = None
    if name is not None and store.refs.delete(name.canonical):
        return (name,)
    found = [each.name for each in list_images(store) if _is_digest_of(wanted, each)]
    if not found:
        raise NotFound(f"No such image: {wanted}", hint="polyarch images lists those that are here")
    for each in found:
        store.refs.delete(each.canonical)
    return tuple(found)


def _is_digest_of(text: str, image: StoredImage) -> bool:
    """Tell whether an image is named by its digest: in full, or by its first digits."""
    digest = image.root.digest
    if text in {digest, f"{image.name.familiar_name}@{digest}"}:
        return True
    return len(text) >= _SHORT and hex_of(digest).startswith(text)


# --- to and from registries ---


def pull_image(
    store: Store,
    places: Places,
    name: Reference,
    platforms: Sequence[Platform] = (),
    *,
    sink: Sink = ignore_events,
    cancel: CancelToken,
) -> Descriptor:
    """Fetch an image for some platforms (none: all of them) and keep its name; return the root.

    Raises NotFound, RegistryError, IntegrityError, StoreError, Cancelled.
    """
    with step(sink, f"pulling {name.canonical}") as shown:
        repository = places.repository(name)
        root = _resolved(store, places, name, shown)
        source = KeptDocuments(place=repository, blobs=store.blobs)
        fetcher = Fetcher(store=store, places=places, cancel=cancel, shown=shown)
        target = StorePlace(fetcher=fetcher)
        watch = Watch(blob=_Shown(shown).fetched, cancel=cancel)
        try:
            blobs = copy(root, source, target, Wanted(platforms=platforms), watch)
        except OutOfReach as error:
            if not places.is_offline:
                raise
            raise missing_image(f"all of {name.familiar}", name.familiar) from error
        store.layers.add_sources(name.domain, name.path, blobs)
        if name.tag or not name.digest:
            with shown.part(f"naming to {name.canonical}"):
                target.tag(name.canonical, root, source.manifest(root))
    return root


def _resolved(store: Store, places: Places, name: Reference, shown: Step) -> Descriptor:
    """Return what a name stands for, by what is known of it where nothing is asked of others."""
    known = KnownNames(refs=store.refs)
    if not places.is_offline:
        root = places.repository(name).resolve()
        if not name.digest:
            known.note(name, root)
        return root
    kept = store.refs.find(name.canonical)
    found = known.find(name) or (None if kept is None else KnownImage.of(kept))
    if found is None:
        raise missing_image(name.familiar, name.familiar)
    shown.remark(f"as of {found.date}: {found.root.digest}")
    return found.root


def push_image(
    store: Store,
    places: Places,
    name: Reference,
    *,
    sink: Sink = ignore_events,
    cancel: CancelToken,
) -> Pushed:
    """Push an image of the local store under its name, with all of its platforms; return what came of it.

    Raises NotFound (also for a platform that isn't here), RegistryError, StoreError, Cancelled.
    """
    ref = store.refs.get(name.canonical)
    root = Descriptor.from_json(json.loads(ref.descriptor))
    blobs: list[Digest] = []
    for descriptor, manifest in manifests_of(store, root):
        if manifest is None:
            raise NotFound(
                f"{name.familiar} isn't here for all of its platforms: {descriptor.digest} is missing",
                hint=f"polyarch pull --all-platforms {name.familiar}, or copy it from registry to "
                "registry with polyarch imagetools create",
            )
        blobs += [blob.digest for blob in (manifest.config, *manifest.layers)]
    with step(sink, f"pushing {name.canonical}") as shown:
        fetcher = Fetcher(store=store, places=places, cancel=cancel, shown=shown)
        return push(StorePlace(fetcher=fetcher), root, blobs, name)


def push(
    source: StorePlace,
    root: Descriptor,
    blobs: Iterable[Digest],
    name: Reference,
    along: Along = _ALONE,
) -> Pushed:
    """Push an image whose documents are in the store under a name, and what goes along with it.

    Returns what came of it, which is told as well.

    `blobs` are its configs and layers. Base layers that aren't here are mounted where they are known to be, or fetched.
    Raises as `push_image`.
    """
    store, shown, cancel = source.store, source.fetcher.shown, source.fetcher.cancel
    tags = () if name.digest and not name.tag else (name.tag or _LATEST,)
    # Equal builds push one after another: the later one finds all there, and a registry that keeps
    # links in files (as distribution does) isn't asked for one that is being written.
    lock = f"push {name.repository}@{root.digest}"
    with (
        store.locks.exclusive(lock, check=cancel.check),
        shown.part("pushing layers"),
        shown.part(f"pushing manifest for {replace(name, digest=root.digest).canonical}"),
    ):
        tally = Tally()
        repository = source.fetcher.places.repository(name)
        target = replace(repository, on_blob=tally.add, early=along.early)
        watch = Watch(blob=_Shown(shown).pushed, cancel=cancel)
        wanted = Wanted(tags=() if along.seal else tags)
        if not copy(root, source, target, wanted, watch):
            # The registry has the whole of it, and was asked for no single blob.
            for each in _blobs(store, root):
                tally.add(each, Arrival.THERE)
        for each in along.referrers:
            copy(each, source, target, watch=watch)
        if along.seal:
            with shown.part(f"signing {root.digest}"):
                along.seal(target, root)
            for tag in tags:
                target.tag(tag, root, source.manifest(root))
        store.layers.add_sources(name.domain, name.path, blobs)
    pushed = tally.of(root)
    shown.remark(f"{name.canonical}: {pushed}")
    return pushed


def _blobs(store: Store, root: Descriptor) -> Iterator[Descriptor]:
    """Give the configs and layers of an image."""
    for _, manifest in manifests_of(store, root):
        if manifest is not None:
            yield from (manifest.config, *manifest.layers)


class _Shown:
    """Shows blobs as parts of a step, each from when its turn comes."""

    def __init__(self, shown: Step) -> None:
        self._shown = shown
        self._started: dict[Digest, float] = {}

    def pushed(self, blob: Descriptor, current: int) -> None:
        """Take how many bytes of a blob are at the registry; called from several threads, a blob's from one."""
        kind = "config" if is_config(blob.media_type) else "layer"
        self._show(f"pushing {kind} {blob.digest}", blob, current)

    def fetched(self, blob: Descriptor, current: int) -> None:
        """Take how many bytes of a blob have come."""
        if not is_config(blob.media_type):
            self._show(blob.digest, blob, current)

    def _show(self, part: str, blob: Descriptor, current: int) -> None:
        started = self._started.setdefault(blob.digest, time.time())
        is_done = current == blob.size
        self._shown.status(part, current, blob.size, started=started, is_done=is_done)
