"""An image -> its registries, under all its names."""

from __future__ import annotations

from contextlib import nullcontext

from polyarch.exporter.naming import pushed_names
from polyarch.exporter.outputs import is_true
from polyarch.exporter.result import Export
from polyarch.exporter.writer import Writer
from polyarch.images.local import Along, push
from polyarch.progress import Step
from polyarch.record import replace
from polyarch.request.values import Output

__all__ = ["RegistryWriter"]


class RegistryWriter(Writer):
    """Pushes."""

    def write(self, output: Output, export: Export | None, shown: Step) -> None:
        """See Writer."""
        assert export is not None
        root = export.root.descriptor
        referrers = [each.descriptor for each in export.referrers]
        is_trusting = is_true(output, "registry.insecure")
        sealed: set[str] = set()
        for name in pushed_names(output, export.names, root.digest):
            # One repository has one signature of it, however many names.
            seal = None if name.repository in sealed else self.work.seal
            sealed.add(name.repository)
            along = Along(referrers=referrers, seal=seal, early=self.work.early)
            places = self.work.places
            with places.trusting(name.domain) if is_trusting else nullcontext(places) as those:
                source = replace(self.work, places=those).source(export, shown)
                push(source, root, export.blobs, name, along)
