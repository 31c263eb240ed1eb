"""What came of a build, as a value."""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.digest import Digest
from polyarch.explanation import Explanation
from polyarch.oci.descriptor import Descriptor
from polyarch.record import field, frozen

__all__ = ["BuildResult"]


@frozen
class BuildResult:
    """What came of a build.

    `descriptor` is that of the root: the index, or the manifest of a single platform; `config_digest`
    is None for an index; `manifests` are those of the platforms. Without an output that holds an image
    there are none. `ran` and `cached` count the steps; `explanations` tell of each step why it ran, or that it
    was cached, unless nothing ran.
    """

    descriptor: Descriptor | None = None
    config_digest: Digest | None = None
    names: tuple[str, ...] = ()
    manifests: Mapping[str, Digest] = field(default_factory=dict)
    ran: int = 0
    cached: int = 0
    explanations: tuple[Explanation, ...] = ()

    @property
    def digest(self) -> Digest | None:
        """The digest of the root."""
        return self.descriptor.digest if self.descriptor else None
