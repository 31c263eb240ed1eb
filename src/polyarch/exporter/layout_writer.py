"""An image -> an OCI image layout, as an archive or in a directory."""

from __future__ import annotations

from pathlib import Path

from polyarch.exporter.counting import CountingSink
from polyarch.exporter.layout import write_archive, write_directory
from polyarch.exporter.outfile import write_output
from polyarch.exporter.outputs import is_true
from polyarch.exporter.result import Export
from polyarch.exporter.writer import Writer
from polyarch.progress import Step
from polyarch.request.values import Output, OutputType

__all__ = ["LayoutWriter"]


class LayoutWriter(Writer):
    """Writes layouts; archives may be for `docker load`, too."""

    def write(self, output: Output, export: Export | None, shown: Step) -> None:
        """See Writer."""
        assert export is not None
        if not is_true(output, "tar", default=True):
            write_directory(export, self.work.source(export, shown), Path(output.destination))
            return
        self.work.ensure(export, shown)
        blobs, for_docker = self.work.store.blobs, output.type == OutputType.DOCKER
        with shown.part("sending tarball", self.work.size(export)) as count:
            write_output(
                output.destination,
                lambda sink: write_archive(
                    export, blobs, CountingSink(sink, count), for_docker=for_docker
                ),
            )
