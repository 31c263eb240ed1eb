"""Images of the local store -> one archive, as `docker save` writes it: an OCI layout that older programs can load, too.

The layout has every image under its name, with all platforms that are here, byte for byte. `manifest.json` beside it is what
`docker load` read before there were layouts; it can tell of one platform of each image.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence

from polyarch.digest import Digest
from polyarch.errors import NotFound
from polyarch.golang.json import compact
from polyarch.images.archive import write_archive
from polyarch.images.layout import blob_path
from polyarch.images.local import manifests_of
from polyarch.images.store_place import StorePlace
from polyarch.layer.tar import Sink
from polyarch.oci.base import IMAGE_NAME, REF_NAME
from polyarch.oci.config import parse_config
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.manifest import Manifest
from polyarch.oci.media import is_config, is_index
from polyarch.oci.reference import Reference
from polyarch.platforms import Platform, host, normalize, rank
from polyarch.record import field, frozen, replace

__all__ = ["SavedImage", "collect_image", "save_images"]


@frozen
class SavedImage:
    """An image as it is saved: its root, the documents that are here, and the images that it is for each platform."""

    name: Reference
    root: Descriptor
    documents: tuple[Digest, ...]
    images: tuple[tuple[Platform | None, Manifest], ...] = field(default=())

    @property
    def blobs(self) -> tuple[Digest, ...]:
        """All that it is made of, each once."""
        parts = (
            blob.digest
            for _, manifest in self.images
            for blob in (manifest.config, *manifest.layers)
        )
        return tuple(dict.fromkeys((*self.documents, *parts)))

    def best(self, platforms: Sequence[Platform]) -> Manifest | None:
        """Return the image for the first of the platforms that it is for, else the first that there is."""
        for wanted in platforms:
            ranked = [
                (order, number)
                for number, (offered, _) in enumerate(self.images)
                if offered is not None and (order := rank(wanted, offered)) is not None
            ]
            if ranked:
                return self.images[min(ranked)[1]][1]
        return self.images[0][1] if self.images else None


def _parts(
    source: StorePlace, root: Descriptor
) -> Iterator[tuple[Platform | None, Descriptor, Manifest]]:
    """Yield the manifests that are here, with what they are for as far as that is known."""
    for descriptor, manifest in manifests_of(source.store, root):
        if manifest is not None:
            yield _platform(source, descriptor, manifest), descriptor, manifest


def _is_wanted(platform: Platform | None, wanted: Sequence[Platform]) -> bool:
    if not wanted:
        return True
    return platform is not None and any(rank(each, platform) is not None for each in wanted)


def collect_image(
    source: StorePlace, name: Reference, platforms: Sequence[Platform] = ()
) -> SavedImage:
    """Find an image of the store, for some platforms (none: all that are here), and fetch layers that aren't here yet.

    Of one platform the image itself is saved; of several the index, as it is. Raises NotFound, and what fetching raises.
    """
    store = source.store
    root = Descriptor.from_json(json.loads(store.refs.get(name.canonical).descriptor))
    documents: list[Digest] = [root.digest] if is_index(root.media_type) else []
    found = [each for each in _parts(source, root) if _is_wanted(each[0], platforms)]
    if not found:
        wanted = ", ".join(map(str, platforms)) or "any platform"
        raise NotFound(
            f"image {name.familiar} is not here for {wanted}",
            hint=f"polyarch pull {name.familiar} with --platform fetches it",
        )
    if len(platforms) == 1:
        documents = []
        found = found[:1]
        root = found[0][1]
    for blob in (blob for _, _, manifest in found for blob in (manifest.config, *manifest.layers)):
        # An archive may be all that is kept of it.
        source.ensure_sound(blob)
    return SavedImage(
        name=name,
        root=replace(root, platform=None),
        documents=(*documents, *(descriptor.digest for _, descriptor, _ in found)),
        images=tuple((platform, manifest) for platform, _, manifest in found),
    )


def _platform(source: StorePlace, descriptor: Descriptor, manifest: Manifest) -> Platform | None:
    """Return what an image is for; None for what is no image, or whose config isn't here."""
    blobs = source.store.blobs
    if not is_config(manifest.config.media_type) or not blobs.has(manifest.config.digest):
        return None
    config = parse_config(blobs.read(manifest.config.digest))
    return normalize(descriptor.platform or config.platform)


def save_images(
    source: StorePlace, images: Sequence[SavedImage], sink: Sink, *, for_docker: bool = True
) -> None:
    """Write the archive; `for_docker` adds `manifest.json`. Raises StoreError, Cancelled."""
    names: dict[Digest, list[SavedImage]] = {}
    for image in images:
        names.setdefault(image.root.digest, []).append(image)
    entries = [_entry(image) for image in images]
    blobs = dict.fromkeys(digest for image in images for digest in image.blobs)
    more = {"manifest.json": _docker_manifest(names.values())} if for_docker else {}
    write_archive(entries, blobs, source.store.blobs, sink, more)


def _entry(image: SavedImage) -> Descriptor:
    tag = image.name.tag or "latest"
    annotations = {IMAGE_NAME: image.name.canonical, REF_NAME: tag}
    return replace(image.root, annotations={**image.root.annotations, **annotations})


def _docker_manifest(images: Iterable[Sequence[SavedImage]]) -> bytes:
    listed: list[object] = []
    for named in images:
        manifest = named[0].best((host(),))
        if manifest is not None:
            listed.append(
                {
                    "Config": blob_path(manifest.config.digest),
                    "RepoTags": [
                        f"{each.name.familiar_name}:{each.name.tag or 'latest'}" for each in named
                    ],
                    "Layers": [blob_path(layer.digest) for layer in manifest.layers],
                }
            )
    return compact(listed)
