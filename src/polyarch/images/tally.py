"""What came of the blobs of a push: which were there, which the registry took from another repository, which were sent."""

from __future__ import annotations

import threading
from enum import StrEnum

from polyarch.golang.units import progress_size
from polyarch.oci.descriptor import Descriptor
from polyarch.record import frozen

__all__ = ["Arrival", "Pushed", "Share", "Tally"]


class Arrival(StrEnum):
    """How a blob came to be in a repository."""

    THERE = "there already"
    MOUNTED = "mounted"
    UPLOADED = "uploaded"


@frozen
class Share:
    """Some blobs, and how many bytes they have together."""

    blobs: int = 0
    bytes: int = 0

    def __add__(self, other: Share) -> Share:
        return Share(blobs=self.blobs + other.blobs, bytes=self.bytes + other.bytes)


@frozen
class Pushed:
    """What was pushed, and what came of its blobs; those of another repository at the registry are mounted."""

    root: Descriptor
    skipped: Share = Share()
    mounted: Share = Share()
    uploaded: Share = Share()

    def __str__(self) -> str:
        shares = {
            Arrival.UPLOADED: self.uploaded,
            Arrival.MOUNTED: self.mounted,
            Arrival.THERE: self.skipped,
        }
        total = self.uploaded + self.mounted + self.skipped
        parts = [
            f"{each.blobs} {how} ({progress_size(each.bytes)})"
            for how, each in shares.items()
            if each.blobs
        ]
        noun = "blob" if total.blobs == 1 else "blobs"
        return f"{total.blobs} {noun}: {', '.join(parts)}" if parts else "no blobs"


class Tally:
    """Counts the blobs of one push, each once; may be told of them from many threads."""

    def __init__(self) -> None:
        self._shares = dict.fromkeys(Arrival, Share())
        self._seen: set[str] = set()
        self._lock = threading.Lock()

    def add(self, blob: Descriptor, arrival: Arrival) -> None:
        """Count a blob."""
        with self._lock:
            if blob.digest not in self._seen:
                self._seen.add(blob.digest)
                self._shares[arrival] += Share(blobs=1, bytes=blob.size)

    def of(self, root: Descriptor) -> Pushed:
        """Return what was counted, for what was pushed."""
        return Pushed(
            root=root,
            skipped=self._shares[Arrival.THERE],
            mounted=self._shares[Arrival.MOUNTED],
            uploaded=self._shares[Arrival.UPLOADED],
        )
