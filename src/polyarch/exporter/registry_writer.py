"""An image -> its registries, under all its names."""

from __future__ import annotations

from polyarch.exporter.result import Export
from polyarch.exporter.writer import Writer
from polyarch.images.local import push
from polyarch.progress import Step
from polyarch.request.values import Output

__all__ = ["RegistryWriter"]


class RegistryWriter(Writer):
    """Pushes."""

    def write(self, _output: Output, export: Export | None, shown: Step) -> None:
        """See Writer."""
        assert export is not None
        for name in export.names:
            referrers = [each.descriptor for each in export.referrers]
            source = self.work.source(export, shown)
            push(source, export.root.descriptor, export.blobs, name, referrers)
