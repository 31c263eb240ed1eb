"""Names of base images: what they stand for now, or stood for, and the image of a platform that is behind them."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from polyarch.digest import Digest
from polyarch.errors import IntegrityError, NotFound, OutOfReach, PolyarchError
from polyarch.graph.op import ImageOp
from polyarch.images.known import KnownImage, KnownNames, missing_image
from polyarch.images.place import Place
from polyarch.images.places import Places
from polyarch.images.store_place import KeptDocuments
from polyarch.oci.base import LAYOUT_SCHEME, BaseImage
from polyarch.oci.config import parse_config
from polyarch.oci.descriptor import DOCUMENT_LIMIT, Descriptor
from polyarch.oci.fields import naming, read_document
from polyarch.oci.index import choose, parse_index
from polyarch.oci.manifest import parse_manifest
from polyarch.oci.media import is_index
from polyarch.oci.reference import Reference
from polyarch.oci.reference import parse as parse_reference
from polyarch.platforms import Platform
from polyarch.progress import CancelToken, Step, step
from polyarch.record import field, frozen, mutable, replace

if TYPE_CHECKING:
    from polyarch.worker.source_image import ImageSource

__all__ = ["ImageResolver"]

_MOST_INDEXES = 8
"""Indexes one in another: real ones are flat, and a chain could go on for ever."""


@frozen
class _Origin:
    """Where an image is: `source` is what its layers remember."""

    reference: str
    shown: str
    source: str
    documents: KeptDocuments


def _is_name(source: str) -> bool:
    return not source.startswith(LAYOUT_SCHEME)


@mutable
class ImageResolver:
    """Resolves the names of base images, each once in a build; the frontend's `BaseImages`."""

    images: ImageSource
    cancel: CancelToken
    pull: bool
    _roots: dict[str, Descriptor] = field(default_factory=dict)
    _away: dict[str, OutOfReach] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def resolve(self, reference: str, platform: Platform) -> BaseImage:
        """Return the image of a name, or of the address of a layout, for a platform.

        Raises InvalidReference, NotFound (naming the platforms that there are), RegistryError.
        """
        if not _is_name(reference):
            return self._in_layout(reference, platform)
        name = parse_reference(reference)
        return self._image(self._origin(name), self.root(name, platform), platform)

    def sibling(self, op: ImageOp, platform: Platform) -> ImageOp | None:
        """Return what the index that `op` was chosen from has for another platform; None if it has none.

        An image by itself has no sibling, nor has one of a layout on this machine. Raises RegistryError.
        """
        if op.root is None or op.root == op.digest or not _is_name(op.reference):
            return None
        name = replace(parse_reference(op.reference), digest=op.root)
        try:
            root = self._held(op.root) or self._places.repository(name).resolve()
            image = self._image(self._origin(name), root, platform)
        except (NotFound, OutOfReach):
            return None
        return ImageOp.of(image, platform)

    def _origin(self, name: Reference) -> _Origin:
        return _Origin(
            reference=name.canonical,
            shown=name.familiar,
            source=str(name),
            documents=self._kept(self._places.repository(name)),
        )

    def _in_layout(self, address: str, platform: Platform) -> BaseImage:
        from polyarch.images.layout import open_layout, parse_layout  # noqa: PLC0415 - seldom needed

        wanted = parse_layout(address)
        layout = open_layout(wanted)
        with self._lock:
            root = self._roots.get(address)
            if root is None:
                with step(self.images.sink, f"[internal] load metadata for {address}"):
                    root = self._roots[address] = layout.load(wanted.target)[0]
        origin = _Origin(
            reference=address,
            shown=address,
            source=layout.name,
            documents=self._kept(layout),
        )
        return self._image(origin, root, platform)

    def root(self, name: Reference, platform: Platform) -> Descriptor:
        """Return what a name stands for: an index or a manifest. It is asked for once in a build."""
        with self._lock:
            known = self._roots.get(name.canonical)
            if known is None:
                title = f"[internal] load metadata for {name.canonical}"
                with step(self.images.sink, title) as shown:
                    known = self._roots[name.canonical] = self._root(name, platform, shown)
        return known

    def _root(self, name: Reference, platform: Platform, shown: Step) -> Descriptor:
        is_offline = self.images.transport.is_offline
        if name.digest is not None:
            held = self._held(name.digest)
            if held is None and is_offline:
                raise missing_image(name.familiar, name.familiar)
            return held or self._places.repository(name).resolve()
        stored = None if self.pull else self.images.store.refs.find(name.canonical)
        if stored is not None:
            kept = KnownImage.of(stored)
            if self._has_platform(kept.root, platform):
                if is_offline:
                    shown.remark(f"of the local store, since {kept.date}: {kept.root.digest}")
                return kept.root
        find = self._recalled if is_offline else self._asked
        try:
            return find(name, platform, shown)
        except PolyarchError as error:
            if stored is not None:
                error.hint = f"the local store has {name.familiar}, but not for {platform}: build it for that, too"
            raise

    def _recalled(self, name: Reference, platform: Platform, shown: Step) -> Descriptor:
        """Return what a name stood for when its registry was asked last. Raises NotFound."""
        known = self._known.find(name)
        if known is None:
            raise missing_image(name.familiar, name.familiar)
        if not self._has_platform(known.root, platform):
            image = f"--platform {platform} {name.familiar}"
            raise missing_image(f"{name.familiar} for {platform}", image)
        shown.remark(f"as of {known.date}: {known.root.digest}")
        return known.root

    def _asked(self, name: Reference, platform: Platform, shown: Step) -> Descriptor:
        """Return what a name stands for, or what it stood for if its registry can't be reached."""
        try:
            if name.domain in self._away:
                raise self._away[name.domain]
            root = self._places.repository(name).resolve()
        except OutOfReach as error:
            known = None if self.pull else self._known.find(name)
            if known is None or not self._has_platform(known.root, platform):
                raise
            # Others of the same registry needn't wait for it as well.
            self._away[name.domain] = error
            shown.warn(f"{error}: used is {name.familiar} as of {known.date}, {known.root.digest}")
            return known.root
        self._known.note(name, root)
        return root

    @property
    def _known(self) -> KnownNames:
        return KnownNames(refs=self.images.store.refs)

    @property
    def _places(self) -> Places:
        return self.images.places(self.cancel)

    def _kept(self, place: Place) -> KeptDocuments:
        return KeptDocuments(place=place, blobs=self.images.store.blobs)

    def _held(self, digest: Digest) -> Descriptor | None:
        """Return the descriptor of a manifest or index that the store has, by its digest."""
        blobs = self.images.store.blobs
        size = blobs.find_size(digest)
        if size is None or size > DOCUMENT_LIMIT:
            return None
        data = blobs.read(digest)
        with naming("document", data):
            media_type = read_document(data).text("mediaType")
        if not media_type:
            return None
        return Descriptor(media_type=media_type, digest=digest, size=size)

    def _has_platform(self, root: Descriptor, platform: Platform) -> bool:
        """Whether the local store's image serves the platform, without asking anybody."""
        blobs = self.images.store.blobs
        if not blobs.has(root.digest):
            return False
        if not is_index(root.media_type):
            return True
        try:
            chosen = choose(parse_index(blobs.read(root.digest)), platform)
        except NotFound:
            return False
        return blobs.has(chosen.digest)

    def _image(self, origin: _Origin, root: Descriptor, platform: Platform) -> BaseImage:
        descriptor, depth = root, 0
        while is_index(descriptor.media_type):
            descriptor, depth = self._choose(origin, descriptor, platform), depth + 1
            if depth > _MOST_INDEXES:
                raise IntegrityError(
                    f"{origin.reference} is more than {_MOST_INDEXES} indexes, one in another",
                    hint="the image is damaged or hostile; don't use it",
                )
        manifest = parse_manifest(origin.documents.manifest(descriptor))
        config = parse_config(origin.documents.config(manifest.config))
        if len(config.diff_ids) != len(manifest.layers):
            raise IntegrityError(
                f"{origin.reference} has {len(manifest.layers)} layers, but its config tells of "
                f"{len(config.diff_ids)}"
            )
        return BaseImage(
            reference=origin.reference,
            digest=descriptor.digest,
            config=config,
            root=root.digest,
            blobs=manifest.layers,
            source=origin.source,
        )

    def _choose(self, origin: _Origin, root: Descriptor, platform: Platform) -> Descriptor:
        index = parse_index(origin.documents.manifest(root))
        try:
            return choose(index, platform)
        except NotFound as error:
            raise NotFound(f"{origin.shown}: {error}", hint=error.hint) from error
