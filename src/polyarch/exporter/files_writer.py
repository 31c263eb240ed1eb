"""The files of all platforms -> a directory, or an archive."""

from __future__ import annotations

from pathlib import Path

from polyarch.exporter.counting import CountingSink
from polyarch.exporter.directory import DirectoryOptions, write_files
from polyarch.exporter.files import write_tar
from polyarch.exporter.outfile import write_output
from polyarch.exporter.outputs import epoch_of, is_true
from polyarch.exporter.result import Export
from polyarch.exporter.writer import Writer
from polyarch.progress import Step
from polyarch.request.outputs import is_mirror
from polyarch.request.values import Output, OutputType

__all__ = ["FilesWriter"]


class FilesWriter(Writer):
    """Writes files as they are, without an image around them."""

    def write(self, output: Output, _export: Export | None, shown: Step) -> None:
        """See Writer."""
        work = self.work
        with work.trees() as found:
            trees = found
            split = is_true(output, "platform-split", default=work.is_split or len(trees) > 1)
            if work.predicates:
                # Few have attestations beside their files.
                from polyarch.exporter.attested_files import with_attestations  # noqa: PLC0415

                is_mixed = work.is_split and not split
                trees = with_attestations(trees, work.predicates, output, is_mixed=is_mixed)
            name = "copying files" if output.type == OutputType.LOCAL else "sending tarball"
            with shown.part(name) as count:
                epoch = epoch_of(output, work.epoch)
                if output.type == OutputType.LOCAL:
                    wanted = DirectoryOptions(
                        split=split,
                        epoch=epoch,
                        is_mirror=is_mirror(output),
                        check=work.cancel.check,
                    )
                    write_files(trees, Path(output.destination), wanted)
                else:
                    write_output(
                        output.destination,
                        lambda sink: write_tar(
                            trees, CountingSink(sink, count), split=split, epoch=epoch
                        ),
                    )
