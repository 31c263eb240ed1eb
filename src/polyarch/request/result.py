"""What came of a build, as a value."""

from __future__ import annotations

from collections.abc import Mapping

from polyarch.digest import Digest
from polyarch.errors import NotFound
from polyarch.oci.descriptor import Descriptor
from polyarch.record import field, frozen
from polyarch.request.emulated import EmulatedStep
from polyarch.request.explanation import Explanation

__all__ = ["BuildResult", "CacheUse", "StepTime"]


@frozen
class StepTime:
    """How long a step took, in seconds; nearly nothing if it was cached."""

    name: str
    seconds: float
    cached: bool = False


@frozen
class CacheUse:
    """What a cache of single steps (`type=steps`) was good for, by its address.

    `found` steps were there, which once took `saved_seconds`, as far as that is known, and made layers of `found_bytes`.
    `pushed` records were written, with `pushed_bytes` of layers; `left` couldn't be. `trouble` is what went wrong.
    """

    address: str
    found: int = 0
    saved_seconds: float = 0.0
    found_bytes: int = 0
    pushed: int = 0
    pushed_bytes: int = 0
    left: int = 0
    trouble: str = ""


@frozen
class BuildResult:
    """What came of a build.

    `descriptor` is that of the root: the index, or the manifest of a single platform; `config_digest`
    is None for an index; `manifests` are those of the platforms, and `sizes` the bytes of their configs
    and layers, compressed. Without an output that holds an image there are none. `ran` and `cached` count
    the steps; `explanations` tell of each step why it ran, or that it was cached, unless nothing ran.
    `emulated` tells of the emulated steps that ran, as they ended; `emulators` says of each platform by what its steps
    were emulated: QEMU's version, and the file or image. `caches` tells what caches of single steps were good for.
    `provenance` has, where that was asked for, the predicate of SLSA v0.2 in JSON by platform, by "" where there is one.
    `ref` is the build's name in the history, BUILDER/NODE/ID.
    `is_loaded_whole` says that an engine has it which knows images by the digests of their roots; `loaded` is the digest of
    the config of the one that an engine took out of an index, as it keeps images of one platform.
    `changed` says whether the result is another one than that of the request's `if_changed`; None if it had none.
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
    changed: bool | None = None
    caches: tuple[CacheUse, ...] = ()
    seconds: float = 0.0
    steps: tuple[StepTime, ...] = ()
    is_loaded_whole: bool = False
    loaded: Digest | None = None

    @property
    def image_id(self) -> Digest | None:
        """By what engines know the image: the digest of its config, if it is that of one platform, or of the root."""
        root = self.descriptor.digest if self.descriptor is not None else None
        return root if self.is_loaded_whole else self.config_digest or self.loaded or root

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
