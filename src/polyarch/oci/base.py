"""What a build needs to know of an image that it starts from."""

from __future__ import annotations

from polyarch.digest import DiffID, Digest
from polyarch.oci.config import ImageConfig
from polyarch.oci.descriptor import Descriptor
from polyarch.record import frozen

__all__ = [
    "DEFAULT_PATH",
    "IMAGE_NAME",
    "IMAGE_SCHEME",
    "LAYOUT_SCHEME",
    "PIECES",
    "REF_NAME",
    "SUBJECT",
    "BaseImage",
    "is_at_registry",
]

IMAGE_SCHEME = "docker-image://"
"""What a context begins with that is an image of a registry."""

LAYOUT_SCHEME = "oci-layout://"
"""What the address of an image in a directory of this machine begins with, instead of a name."""

PIECES = "pieces://"
"""What the address of layers in pieces begins with, before the place that they are at: see `images/pieces.py`."""

IMAGE_NAME = "io.containerd.image.name"
REF_NAME = "org.opencontainers.image.ref.name"
"""The annotations by which an image is named in the index of a layout: in full, and by its tag."""

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Where programs are found in an image that says nothing of it, as with BuildKit and Docker."""

SUBJECT = "io.containerd.manifest.subject"
"""The annotation of a manifest in the index of a layout that nothing there lists: what it is about."""


def is_at_registry(source: str) -> bool:
    """Tell whether a place of layers is a repository: layouts and services of caches have addresses."""
    return "://" not in source


@frozen
class BaseImage:
    """An image that a stage starts from: pinned, with its config.

    `reference` is its canonical name, with a tag, or the address of a layout; `digest` that of the
    manifest for the platform. `root` is what the name stands for, an index most often; None for the manifest.
    `blobs` are the layers' descriptors, in the order of the diff IDs, and `source` says where they are.
    """

    reference: str
    digest: Digest
    config: ImageConfig
    root: Digest | None = None
    blobs: tuple[Descriptor, ...] = ()
    source: str = ""

    @property
    def diff_ids(self) -> tuple[DiffID, ...]:
        """The layers, unpacked, lowest first."""
        return self.config.diff_ids

    @property
    def pinned(self) -> str:
        """The reference with the digest that people pin, which serves all platforms."""
        digest = self.root or self.digest
        return self.reference if self.reference.endswith(digest) else f"{self.reference}@{digest}"
