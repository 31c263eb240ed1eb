"""An archive of ours again, with no time in it later than a limit: what `changes.write_layer` would have written so.

For layers that are there as archives only, as a cache has them: to be written from their files, all layers below would have
to be there, too.
"""

from __future__ import annotations

import posixpath

from polyarch.layer.tar import Sink, TarWriter, header, padding
from polyarch.layer.tarread import Source, TarReader

__all__ = ["write_clamped"]

_SECOND = 1_000_000_000


def write_clamped(source: Source, sink: Sink, latest: int) -> None:
    """Write the entries of an archive with times of `latest`, in seconds since the epoch, at most.

    Raises InvalidLayer for a damaged archive.
    """
    writer = TarWriter(sink)
    reader = TarReader(source)
    for entry in reader:
        hides = posixpath.basename(entry.name).startswith(".wh.")
        mtime = min(entry.mtime_ns, latest * _SECOND)
        writer.put(header(entry._replace(mtime_ns=mtime, split=hides)))
        for data in reader.content():
            writer.put(data)
        writer.put(padding(entry.size))
    writer.end()
