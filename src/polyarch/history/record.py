"""The record of a build, as values: BuildKit's `BuildHistoryRecord`, and where the build was.

Source: BuildKit's `control.proto`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from enum import IntEnum, StrEnum

from polyarch.oci.descriptor import Descriptor
from polyarch.record import field, frozen

__all__ = [
    "BuildError",
    "BuildRecord",
    "Code",
    "Counts",
    "Exporter",
    "ResultInfo",
    "State",
]


class State(StrEnum):
    """What became of a build, as buildx's `history inspect` calls it."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"


class Code(IntEnum):
    """What gRPC calls errors, as far as builds end with them."""

    CANCELED = 1
    UNKNOWN = 2

    @property
    def text(self) -> str:
        """The name as Go prints it."""
        return self.name.capitalize()


@frozen
class BuildError:
    """Why a build failed: a code of gRPC's, the message, and the digest of the step that failed, "" if none did.

    `excerpt` shows the place in the Dockerfile.
    """

    code: int
    message: str
    step: str = ""
    excerpt: str = ""

    @property
    def name(self) -> str:
        """What gRPC calls the code."""
        return Code(self.code).text if self.code in set(Code) else f"Code({self.code})"


@frozen
class Exporter:
    """An output: its type, and its attributes."""

    type: str
    attributes: Mapping[str, str] = field(default_factory=dict)


@frozen
class ResultInfo:
    """What a platform's result is in the store: attestations, and documents of images."""

    attestations: tuple[Descriptor, ...] = ()
    results: tuple[Descriptor, ...] = ()


@frozen
class Counts:
    """Steps in all, those that ended, those that were cached; warnings."""

    total: int = 0
    completed: int = 0
    cached: int = 0
    warnings: int = 0


@frozen
class BuildRecord:
    """A build. Times are seconds since the epoch; `completed` is None while it goes on.

    `attributes` are those of the Dockerfile frontend (`target`, `build-arg:NAME`, ...); `response` is what the
    metadata file holds; `result` is that of all of it, `results` are those of single platforms. `state` has buildx's `Target`, `LocalPath`
    and `DockerfilePath`. `logs` and `trace` are None if there are none.
    """

    ref: str
    builder: str = ""
    node: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    exporters: tuple[Exporter, ...] = ()
    created: float = 0.0
    completed: float | None = None
    error: BuildError | None = None
    response: Mapping[str, str] = field(default_factory=dict)
    result: ResultInfo | None = None
    results: Mapping[str, ResultInfo] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)
    logs: Descriptor | None = None
    trace: Descriptor | None = None
    platform: str = ""
    state: Mapping[str, str] = field(default_factory=dict)

    def descriptors(self) -> Iterator[Descriptor]:
        """Yield the descriptors of all that the record names: logs, results and what is said of them."""
        yield from filter(None, (self.logs, self.trace))
        results = (self.result, *self.results.values())
        for each in filter(None, results):
            yield from (*each.results, *each.attestations)

    @property
    def full_ref(self) -> str:
        """The name by which programs ask for it: builder, node and build."""
        return f"{self.builder}/{self.node}/{self.ref}"

    @property
    def status(self) -> State:
        """What became of the build."""
        if self.completed is None:
            return State.RUNNING
        if self.error is None:
            return State.COMPLETED
        return State.CANCELED if self.error.code == Code.CANCELED else State.FAILED

    def seconds(self, now: float) -> float:
        """Return how long it took, or has taken until `now`."""
        return max((now if self.completed is None else self.completed) - self.created, 0.0)
