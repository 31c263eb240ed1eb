"""An image -> its registries, under all its names."""

from __future__ import annotations

from polyarch.exporter.naming import pushed_names
from polyarch.exporter.result import Export
from polyarch.exporter.writer import Writer
from polyarch.images.local import push
from polyarch.progress import Step
from polyarch.request.values import Output

__all__ = ["RegistryWriter"]


class RegistryWriter(Writer):
    """Pushes."""

    def write(self, output: Output, export: Export | None, shown: Step) -> None:
        """See Writer."""
        assert export is not None
        root = export.root.descriptor
        for name in pushed_names(output, export.names, root.digest):
            push(self.work.source(export, shown), root, export.blobs, name)
