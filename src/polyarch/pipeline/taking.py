"""An archive of an image that another machine made -> where images of this machine's own builds go: its store, and an engine.

What is to be loaded is brought here as a layout, whatever the engine can hold: its writer makes of it what it makes of our own.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import BinaryIO

from polyarch.engine.engine import Engine
from polyarch.errors import IntegrityError
from polyarch.exporter.assemble import ImageResult
from polyarch.exporter.attested import Attested, is_attestation
from polyarch.exporter.export import Exporter
from polyarch.exporter.layers import ExportedLayer
from polyarch.exporter.outputs import is_loaded_whole, names_of
from polyarch.exporter.result import Export, FileTree
from polyarch.exporter.writer import Work
from polyarch.images.loading import load_images
from polyarch.images.local import manifests_of
from polyarch.oci.config import parse_config
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.documents import Document
from polyarch.oci.manifest import Manifest
from polyarch.progress import CancelToken, Sink
from polyarch.record import frozen
from polyarch.request.values import Output
from polyarch.store.store import Store

__all__ = ["Taking"]


@frozen
class Taking:
    """Takes images of other machines for this one."""

    engine: Engine
    sink: Sink
    cancel: CancelToken

    def take(self, output: Output, archive: BinaryIO) -> None:
        """Carry out an output with the image of a layout's archive.

        Raises MachineError of the engine, IntegrityError and InvalidLayer for what is no such archive.
        """
        archive.seek(0)
        images = load_images(self.engine.store, archive, cancel=self.cancel, keeps=False)
        if len(images) != 1:
            raise IntegrityError(f"the builder sent {len(images)} images in the place of one")
        work = Work(
            store=self.engine.store,
            places=self.engine.images(self.sink).places(self.cancel),
            trees=_no_trees,
            sink=self.sink,
            cancel=self.cancel,
            engines=self.engine.docker_engines((output,)),
        )
        Exporter(work=work).run(output, _export(self.engine.store, images[0].root, output))

    def has_whole(self, outputs: Sequence[Output]) -> bool:
        """Return whether an engine has taken one of these outputs that keeps what it is given as it is. Raises MachineError."""
        return is_loaded_whole(outputs, self.engine.docker_engines(outputs))


def _no_trees() -> AbstractContextManager[Sequence[FileTree]]:
    raise IntegrityError("an image of another machine isn't unpacked here")


def _export(store: Store, root: Descriptor, output: Output) -> Export:
    """Understand an image whose blobs are all in the store."""
    images: list[ImageResult] = []
    attested: list[Attested] = []
    for descriptor, manifest in manifests_of(store, root):
        if manifest is None:
            raise IntegrityError(f"the builder's image lacks {descriptor.digest}")
        if is_attestation(descriptor):
            attested.append(_attested(store, descriptor, manifest))
        else:
            images.append(_image(store, descriptor, manifest))
    return Export(
        root=_document(store, root),
        images=tuple(images),
        names=names_of(output),
        created=time.time(),
        attested=tuple(attested),
    )


def _document(store: Store, descriptor: Descriptor) -> Document:
    return Document(descriptor=descriptor, data=store.blobs.read(descriptor.digest))


def _image(store: Store, descriptor: Descriptor, manifest: Manifest) -> ImageResult:
    config = _document(store, manifest.config)
    understood = parse_config(config.data)
    if len(understood.diff_ids) != len(manifest.layers):
        raise IntegrityError(
            f"the builder's image {descriptor.digest} has {len(manifest.layers)} layers, "
            f"and its config names {len(understood.diff_ids)}"
        )
    layers = zip(manifest.layers, understood.diff_ids, strict=True)
    return ImageResult(
        platform=understood.platform,
        manifest=_document(store, descriptor),
        config=config,
        layers=tuple(ExportedLayer(descriptor=each, diff_id=own) for each, own in layers),
    )


def _attested(store: Store, descriptor: Descriptor, manifest: Manifest) -> Attested:
    return Attested(
        manifest=_document(store, descriptor),
        config=_document(store, manifest.config),
        statements=tuple(_document(store, each) for each in manifest.layers),
    )
