"""What names of images stood for when their registries were asked last: for builds that can't ask, or aren't to.

Kept are the descriptors, by name, and with them the documents of the images (`RefKind.SOURCE`).
"""

from __future__ import annotations

import json
import time

from polyarch.errors import NotFound
from polyarch.golang.json import compact
from polyarch.oci.descriptor import Descriptor
from polyarch.oci.reference import Reference
from polyarch.record import frozen
from polyarch.store.refs import Ref, RefKind, Refs

__all__ = ["KnownImage", "KnownNames", "missing_image"]

_HOUR = 3600.0


def missing_image(what: str, image: str) -> NotFound:
    """Return the error for what isn't here while nothing is asked of others; `image` is the name to fetch it by."""
    return NotFound(
        f"{what} isn't here, and nothing is asked of others (--offline)",
        hint=f"fetch it while there is a network: polyarch pull {image}",
    )


@frozen
class KnownImage:
    """What a name stood for, and when, in seconds since the epoch."""

    root: Descriptor
    seen: float

    @property
    def date(self) -> str:
        """When that was, for people."""
        return time.strftime("%Y-%m-%d %H:%M", time.localtime(self.seen))

    @staticmethod
    def of(ref: Ref) -> KnownImage:
        """Read a name of the store."""
        return KnownImage(root=Descriptor.from_json(json.loads(ref.descriptor)), seen=ref.updated)


@frozen
class KnownNames:
    """The names that were resolved."""

    refs: Refs

    def find(self, name: Reference) -> KnownImage | None:
        """Return what a name stood for, None if it was never asked for."""
        ref = self.refs.find(name.canonical, RefKind.SOURCE)
        return None if ref is None else KnownImage.of(ref)

    def note(self, name: Reference, root: Descriptor) -> None:
        """Remember what a name stands for now.

        What is known already is written once an hour: an unchanged build writes nothing.
        """
        text = compact(root.to_json()).decode()
        ref = self.refs.find(name.canonical, RefKind.SOURCE)
        if ref is None or ref.descriptor != text or time.time() - ref.updated > _HOUR:
            self.refs.set(name.canonical, text, RefKind.SOURCE)
