"""An image -> docker's engine, if there is one: what `--load` asks for."""

from __future__ import annotations

import os

from polyarch.exporter.counting import CountingSink
from polyarch.exporter.layout import write_archive
from polyarch.exporter.outfile import Whole
from polyarch.exporter.result import Export
from polyarch.exporter.writer import Writer
from polyarch.oci.media import is_index
from polyarch.progress import Step
from polyarch.request.values import Output
from polyarch.store.trouble import store_trouble

__all__ = ["EngineWriter"]


class EngineWriter(Writer):
    """Loads."""

    def write(self, output: Output, export: Export | None, shown: Step) -> None:
        """See Writer."""
        assert export is not None
        store = self.work.store
        engine = self.work.engines.get(output.attributes.get("context", ""))
        if engine is None:
            with shown.part("keeping it in polyarch's own store, as no docker engine listens"):
                return
        # A file knows its size, which the engine wants to be told first.
        path = store.temporary("docker-image")
        with (
            shown.part("importing to docker", self.work.size(export)) as count,
            store_trouble("write", path),
            path.open("w+b", buffering=0) as archive,
        ):
            path.unlink()
            is_single = not is_index(export.root.descriptor.media_type)
            sink = CountingSink(Whole(archive.fileno()), count)
            write_archive(export, store.blobs, sink, for_docker=is_single)
            archive.seek(0)
            engine.load(archive, os.fstat(archive.fileno()).st_size)
