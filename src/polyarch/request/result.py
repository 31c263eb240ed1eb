"""What came of a build, as a value."""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.digest import Digest
from polyarch.errors import NotFound
from polyarch.oci.descriptor import Descriptor
from polyarch.record import field, frozen
from polyarch.request.emulated import EmulatedStep
from polyarch.request.explanation import Explanation

__all__ = ["BuildResult", "StepTime"]


@frozen
class StepTime:
    """How long a step took, in seconds; nearly nothing if it was cached."""

    name: str
    seconds: float
    cached: bool = False


@frozen
class BuildResult:
    """What came of a build.

    `descriptor` is that of the root: the index, or the manifest of a single platform; `config_digest`
    is None for an index; `manifests` are those of the platforms, and `sizes` the bytes of their configs
    and layers, compressed. Without an output that holds an image there are none. `ran` and `cached` count
    the steps; `explanations` tell of each step why it ran, or that it was cached, unless nothing ran.
    `emulated` tells of the emulated steps that ran, as they ended; `emulators` says of each platform by what its steps
    were emulated: QEMU's version, and the file or image.
    `provenance` has, where that was asked for, the predicate of SLSA v0.2 in JSON by platform, by "" where there is one.
    `ref` is the build's name in the history, BUILDER/NODE/ID.
    `seconds` is how long all of it took, and `steps` tells that of each step, as they ended; the command
    line doesn't count them.
    """

    descriptor: Descriptor | None = None
    config_digest: Digest | None = None
    names: tuple[str, ...] = ()
    manifests: Mapping[str, Digest] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    ran: int = 0
    cached: int = 0
    emulators: Mapping[str, str] = field(default_factory=dict)
    explanations: tuple[Explanation, ...] = ()
    emulated: tuple[EmulatedStep, ...] = ()
    provenance: Mapping[str, str] = field(default_factory=dict)
    ref: str = ""
    seconds: float = 0.0
    steps: tuple[StepTime, ...] = ()

    @property
    def digest(self) -> Digest:
        """The digest of the root: the index, or the manifest of a single platform.

        Raises NotFound if the build had no output that holds an image (`descriptor` is None then).
        """
        if self.descriptor is None:
            raise NotFound(
                "the build made no image: none of its outputs holds one",
                hint="without outputs, or with one of type image, oci or docker, there is a digest",
            )
        return self.descriptor.digest

    @property
    def saved_seconds(self) -> float:
        """What native programs spared in emulated steps, as far as these ran without any before."""
        return sum(step.saved_seconds or 0.0 for step in self.emulated)

    def __repr__(self) -> str:
        """Say in one line what there is; the rest is in the fields."""
        digest = self.descriptor.digest if self.descriptor is not None else None
        fields = {
            "digest": digest,
            "names": self.names or None,
            "platforms": tuple(self.manifests) or None,
        }
        shown = "".join(f"{name}={value!r}, " for name, value in fields.items() if value)
        return (
            f"BuildResult({shown}ran={self.ran}, cached={self.cached}, seconds={self.seconds:.1f})"
        )
