"""What is exported: an image with its names, or the files of each platform."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from polyarch.digest import Digest
from polyarch.exporter.assemble import ImageResult
from polyarch.exporter.attested import Attested
from polyarch.golang.time import time_of
from polyarch.oci.base import IMAGE_NAME, REF_NAME, SUBJECT
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.documents import Document
from polyarch.oci.reference import Reference
from polyarch.platforms import Platform, format_all
from polyarch.record import field, frozen, replace

__all__ = ["CREATED", "Export", "FileTree"]

CREATED = "org.opencontainers.image.created"


@frozen
class Export:
    """A result to be exported: the root document, the images below it, the names it gets.

    `created` is in seconds since the epoch; `annotations` are those of the root's descriptor. `attested` are the
    statements about the images, which the root lists, or which are `referrers`: found by what they are about.
    """

    root: Document
    images: tuple[ImageResult, ...]
    names: tuple[Reference, ...]
    created: float
    annotations: Mapping[str, str] = field(default_factory=dict)
    attested: tuple[Attested, ...] = ()
    has_referrers: bool = False

    @property
    def referrers(self) -> tuple[Document, ...]:
        """The manifests that are found by what they are about alone."""
        if not self.has_referrers:
            return ()
        return tuple(each.as_referrer() for each in self.attested)

    @property
    def documents(self) -> tuple[Document, ...]:
        """All configs, manifests and statements, and the index if there is one, each after what it points at."""
        documents: list[Document] = []
        for image in self.images:
            documents += [image.config, image.manifest]
        for each in self.attested:
            documents += [*each.statements, each.config, each.manifest]
        if self.root not in documents:
            documents.append(self.root)
        return tuple(documents)

    @property
    def digests(self) -> tuple[Digest, ...]:
        """The digests of all blobs, each once."""
        found = {document.descriptor.digest: None for document in self.documents}
        for image in self.images:
            found |= {layer.descriptor.digest: None for layer in image.layers}
        return tuple(found)

    @property
    def blobs(self) -> tuple[Digest, ...]:
        """The digests of all configs, layers and statements, each once."""
        found = {image.config.descriptor.digest: None for image in self.images}
        for each in self.attested:
            found |= {one.descriptor.digest: None for one in (each.config, *each.statements)}
        for image in self.images:
            found |= {layer.descriptor.digest: None for layer in image.layers}
        return tuple(found)

    @property
    def sources(self) -> dict[Digest, tuple[str, ...]]:
        """Where layers of base images came from: references, and addresses of layouts."""
        layers = [layer for image in self.images for layer in image.layers]
        return {layer.descriptor.digest: layer.sources for layer in layers if layer.sources}

    def reported(self, *, is_layout: bool) -> Descriptor:
        """Return the root's descriptor as callers are told of it, in an image layout or elsewhere."""
        root = self.root.descriptor
        created = {CREATED: time_of(int(self.created)).rfc3339()} if is_layout else {}
        annotations = {**root.annotations, **created, **self.annotations}
        return replace(root, annotations=dict(sorted(annotations.items())))

    def entries(self) -> list[Descriptor]:
        """Return the descriptors of a layout's `index.json`: one for each name."""
        created = {CREATED: time_of(int(self.created)).rfc3339()}
        root = self.root.descriptor
        common = {**root.annotations, **created, **self.annotations}
        if not self.names:
            return [replace(root, annotations=common)]
        named = []
        for name in self.names:
            annotations = {**common, IMAGE_NAME: str(name), REF_NAME: name.tag or "latest"}
            named.append(replace(root, annotations=annotations))
        return named

    def referrer_entries(self) -> list[Descriptor]:
        """Return the descriptors in a layout's `index.json` of what is found by what it is about alone."""
        return [
            replace(document.descriptor, annotations={SUBJECT: each.subject})
            for each, document in zip(self.attested, self.referrers, strict=False)
        ]


@frozen
class FileTree:
    """The files of one platform, below `root` on this machine, and files that are `added` to them, by name."""

    platform: Platform
    root: Path
    added: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def directory(self) -> str:
        """What its directory is called where platforms are kept apart."""
        return format_all(self.platform).replace("/", "_")
