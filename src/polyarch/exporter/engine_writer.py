"""An image -> what is there to run it, docker or podman: what `--load` asks for. One line says what came of it.

docker with containerd's store    the whole index under its names
docker without                    the platform of its machine under the names, each under NAME:TAG-PLATFORM
podman                            a manifest list under the names
neither                           nothing: the image stays in our own store
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import BinaryIO, cast

from polyarch.digest import Digest
from polyarch.exporter.assemble import ImageResult
from polyarch.exporter.counting import CountingSink
from polyarch.exporter.layout import write_archive, write_docker_archive
from polyarch.exporter.outfile import Whole
from polyarch.exporter.outputs import EngineKind, Engines, ImageEngine, is_for_engine
from polyarch.exporter.result import Export
from polyarch.exporter.writer import Writer
from polyarch.images.archive import BlobFiles
from polyarch.layer.tar import Sink
from polyarch.oci.media import is_index
from polyarch.oci.reference import Reference
from polyarch.platforms import Platform, rank
from polyarch.progress import Step
from polyarch.record import replace
from polyarch.request.values import Output
from polyarch.store.trouble import store_trouble

__all__ = ["EngineWriter", "loaded_config"]

_NONE = "keeping it in polyarch's own store, as no docker engine listens and there is no podman"


class EngineWriter(Writer):
    """Loads."""

    def write(self, output: Output, export: Export | None, shown: Step) -> None:
        """See Writer."""
        assert export is not None
        engine = self.work.engines.get(output.attributes.get("context", ""))
        if engine is None:
            with shown.part(_NONE):
                return
        load = {
            EngineKind.INDEXES: self._whole,
            EngineKind.SINGLE: self._single,
            EngineKind.LISTS: self._listed,
        }[engine.kind()]
        said = load(engine, export, shown)
        with shown.part(said):
            pass

    def _whole(self, engine: ImageEngine, export: Export, shown: Step) -> str:
        blobs = self.work.store.blobs
        is_single = not is_index(export.root.descriptor.media_type)
        self._give(
            engine,
            export,
            shown,
            lambda sink: write_archive(export, blobs, sink, for_docker=is_single),
        )
        return f"{engine.name} has {_named(export)} for {_platforms(export)}"

    def _single(self, engine: ImageEngine, export: Export, shown: Step) -> str:
        if len(export.images) == 1:
            # Nor does it keep what is said of an image beside it.
            alone = replace(export, root=export.images[0].manifest, attested=())
            return self._whole(engine, alone, shown)
        blobs = self.work.store.blobs
        own = _serving(export, engine.platform())
        names: list[tuple[ImageResult, list[Reference]]] = []
        for image in export.images:
            plain = list(export.names) if image is own else []
            names.append(
                (image, [*plain, *(_tagged(each, image.platform) for each in export.names)])
            )
        self._give(
            engine, export, shown, lambda sink: write_docker_archive(export, names, blobs, sink)
        )
        each = ", ".join(f"{_short(tags)} for {image.platform}" for image, tags in names)
        return f"{engine.name} keeps images of one platform: it has {each}"

    def _listed(self, engine: ImageEngine, export: Export, shown: Step) -> str:
        blobs = self.work.store.blobs
        images = []
        for image in export.images:
            # By itself and without a name, as a list is made of IDs.
            alone = replace(export, root=image.manifest, images=(image,), names=(), attested=())
            images.append(
                self._give(
                    engine,
                    alone,
                    shown,
                    partial(_write_layout, alone, blobs),
                )
            )
        engine.give_names(export.names, images)
        kind = "" if len(images) == 1 else "a manifest list "
        return f"{engine.name} has {_named(export)}, {kind}for {_platforms(export)}"

    def _give(
        self, engine: ImageEngine, export: Export, shown: Step, write: Callable[[Sink], None]
    ) -> str:
        # A file knows its size, which engines want to be told first.
        path = self.work.store.temporary("docker-image")
        with (
            shown.part(
                f"importing to {engine.name.partition(' ')[0]}", self.work.size(export)
            ) as count,
            store_trouble("write", path),
            path.open("w+b", buffering=0) as archive,
        ):
            path.unlink()
            write(CountingSink(Whole(archive.fileno()), count))
            return _load(engine, cast("BinaryIO", archive))


def loaded_config(outputs: Iterable[Output], engines: Engines, export: Export) -> Digest | None:
    """Return by what an engine knows the image that it took out of an index; None if it keeps all of it, or there is none.

    Raises MachineError.
    """
    for output in filter(is_for_engine, outputs):
        engine = engines.get(output.attributes.get("context", ""))
        if engine is not None and engine.kind() is not EngineKind.INDEXES:
            several = len(export.images) > 1
            found = _serving(export, engine.platform()) if several else export.images[0]
            return None if found is None else found.config.descriptor.digest
    return None


def _write_layout(export: Export, blobs: BlobFiles, sink: Sink) -> None:
    write_archive(export, blobs, sink, for_docker=False)


def _load(engine: ImageEngine, archive: BinaryIO) -> str:
    archive.seek(0)
    return engine.load(archive, os.fstat(archive.fileno()).st_size)


def _serving(export: Export, platform: Platform) -> ImageResult | None:
    """Return the image that a machine runs best; None if there is none."""
    ranked = [
        (order, number)
        for number, image in enumerate(export.images)
        if (order := rank(platform, image.platform)) is not None
    ]
    return export.images[min(ranked)[1]] if ranked else None


def _tagged(name: Reference, platform: Platform) -> Reference:
    os_name = () if platform.os == "linux" else (platform.os,)
    parts = (*os_name, platform.architecture, platform.variant)
    suffix = "-".join(part for part in parts if part)
    return replace(name, tag=f"{name.tag or 'latest'}-{suffix}", digest=None)


def _named(export: Export) -> str:
    return _short(list(export.names)) if export.names else str(export.root.descriptor.digest)


def _short(names: list[Reference]) -> str:
    return ", ".join(name.familiar for name in names) or "an image without a name"


def _platforms(export: Export) -> str:
    return ", ".join(str(image.platform) for image in export.images)
