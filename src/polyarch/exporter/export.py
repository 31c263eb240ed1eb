"""Images -> every output that was asked for.

Names are set last: what an output promises is there when its name is.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from polyarch.digest import Digest
from polyarch.exporter.naming import stored_names
from polyarch.exporter.outputs import FILE_TYPES, is_for_engine, is_true, step_name
from polyarch.exporter.result import Export
from polyarch.exporter.writer import Work, Writer
from polyarch.images.store_place import remember
from polyarch.late import load
from polyarch.oci.media import is_index
from polyarch.progress import Step, cancellable, step
from polyarch.record import frozen, replace
from polyarch.request.outputs import is_pushed
from polyarch.request.values import Output, OutputType
from polyarch.store.refs import RefKind
from polyarch.store.trouble import tree_trouble

__all__ = ["Exporter"]

# A build that only names its image, as most do, loads none of them.
_ENGINE = "exporter.engine_writer:EngineWriter"
_FILES = "exporter.files_writer:FilesWriter"
_LAYOUT = "exporter.layout_writer:LayoutWriter"
_REGISTRY = "exporter.registry_writer:RegistryWriter"


@frozen
class Exporter:
    """Carries out outputs. `remarks` are warnings of what was asked for."""

    work: Work
    remarks: tuple[str, ...] = ()

    def run(self, output: Output, export: Export | None, announced: Digest | None = None) -> None:
        """Carry out one output. `export` is there for the types that hold an image.

        `announced` is what `announce` returned for its `step_name`.
        """
        with cancellable(self.work.cancel), tree_trouble(), self._step(output, announced) as shown:
            if output.type in FILE_TYPES:
                self._write(_FILES, output, export, shown)
            elif export is not None:
                for document in export.documents:
                    self.work.store.blobs.put(document.data, document.descriptor.digest)
                if output.type in {OutputType.OCI, OutputType.DOCKER} and not is_for_engine(output):
                    self._write(_LAYOUT, output, export, shown)
                else:
                    self._image(output, export, shown)

    def _write(self, writer: str, output: Output, export: Export | None, shown: Step) -> None:
        found = load(writer)
        assert isinstance(found, type)
        assert issubclass(found, Writer)
        found(self.work).write(output, export, shown)

    def _image(self, output: Output, export: Export, shown: Step) -> None:
        """Keep the image in the local store under its names, and push it if that is asked for."""
        if output.type == OutputType.DOCKER:
            self.work.ensure(export, shown)
        for number, image in enumerate(export.images):
            with shown.part(f"exporting manifest {image.manifest.descriptor.digest}"):
                pass
            with shown.part(f"exporting config {export.images[number].config.descriptor.digest}"):
                pass
        for each in export.attested:
            digest = each.manifest.descriptor.digest
            with shown.part(f"exporting attestation manifest {digest}"):
                pass
        if is_index(export.root.descriptor.media_type):
            with shown.part(f"exporting manifest list {export.root.descriptor.digest}"):
                pass
        goes_to_registry = is_pushed(output)
        if goes_to_registry:
            self._write(_REGISTRY, output, export, shown)
        if is_for_engine(output):
            self._write(_ENGINE, output, export, shown)
        if is_true(output, "store", default=True):
            names = stored_names(output, export.names, export.root.descriptor.digest)
            kind = RefKind.PUSHED if goes_to_registry else RefKind.IMAGE
            self._name(replace(export, names=names), shown, kind)
        if is_true(output, "unpack"):
            self._unpack(shown)

    def _unpack(self, shown: Step) -> None:
        """Have all files of the image here, those of its base as well."""
        with shown.part("unpacking"), self.work.trees():
            pass

    @contextmanager
    def _step(self, output: Output, announced: Digest | None) -> Iterator[Step]:
        with step(self.work.sink, step_name(output), announced) as shown:
            yield shown
            for remark in self.remarks:
                shown.warn(remark)

    def _name(self, export: Export, shown: Step, kind: RefKind) -> None:
        source = replace(self.work.source(export, shown), kind=kind)
        if export.names:
            self.work.keep_cached(export, shown)
        for name in export.names:
            with shown.part(f"naming to {name}"):
                source.tag(name.canonical, export.root.descriptor, export.root.data)
        remember(self.work.store, export.sources)
