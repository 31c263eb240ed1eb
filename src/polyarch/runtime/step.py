"""A step as a value: a process in a root file system, what it may see, use and do, and where it runs."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path

from polyarch.record import field, frozen
from polyarch.request.limits import Resources, Ulimit
from polyarch.runtime.capability import CAPABILITIES

__all__ = [
    "SHM",
    "Bind",
    "DeviceNode",
    "Host",
    "Mount",
    "Network",
    "Security",
    "Step",
    "Tmpfs",
]

HOSTNAME = "buildkitsandbox"
SHM = "/dev/shm"  # noqa: S108 a mount point


class Network(StrEnum):
    """Which network a step sees."""

    HOST = "host"
    NONE = "none"


class Security(StrEnum):
    """How far a step is kept from the machine."""

    SANDBOX = "sandbox"
    INSECURE = "insecure"


@frozen
class Bind:
    """A file or directory of ours that the step sees at `target`, with all that is mounted below it."""

    source: str
    target: str
    read_only: bool = False
    flags: tuple[str, ...] = ()
    """More restrictions: of nosuid, nodev, noexec."""

    def describe(self) -> str:
        """Say in one line what is mounted where."""
        options = ",".join(("ro" if self.read_only else "rw", *self.flags))
        return f"bind {self.source} on {self.target} ({options})"


@frozen
class Tmpfs:
    """An empty file system in memory at `target`; `size` is in bytes, 0 for half of the memory."""

    target: str
    size: int = 0
    mode: int = 0o1777
    read_only: bool = False

    def describe(self) -> str:
        """Say in one line what is mounted where."""
        size = f", {self.size} bytes" if self.size else ""
        access = ", ro" if self.read_only else ""
        return f"tmpfs on {self.target} (mode {self.mode:o}{size}{access})"


Mount = Bind | Tmpfs


@frozen
class DeviceNode:
    """A device of this machine that the step sees at `path`; `source` is where it is here.

    `kind` is b or c; `mode` are its permission bits.
    """

    path: str
    source: str
    kind: str
    major: int
    minor: int
    mode: int = 0o666
    uid: int = 0
    gid: int = 0


@frozen
class Step:
    """A process in a root file system, and all that it may see and use.

    Paths in it are absolute inside the root; those of `rootfs` and of sources are ours. `env` holds
    `NAME=value`, each name once. `user_namespace` is the path of one to join.
    """

    argv: tuple[str, ...]
    rootfs: str
    env: tuple[str, ...] = ()
    cwd: str = "/"
    uid: int = 0
    gid: int = 0
    groups: tuple[int, ...] = ()
    hostname: str = HOSTNAME
    network: Network = Network.HOST
    security: Security = Security.SANDBOX
    mounts: tuple[Mount, ...] = ()
    devices: tuple[DeviceNode, ...] = ()
    ulimits: tuple[Ulimit, ...] = ()
    shm_size: int = 0
    """Bytes of a /dev/shm that is asked for; 0 is what every step has."""
    cgroup_parent: str = ""
    resources: Resources = field(default_factory=Resources)
    user_namespace: str = ""
    network_namespace: str = ""
    """The path of a network of its own that is there already, for a step with none of the host's."""
    twins: Path | None = None
    """The directory of sets of native twins that the step sees at `polyarch.twins.places.MOUNTED`."""

    @property
    def insecure(self) -> bool:
        """Whether the step gets everything that we have."""
        return self.security is Security.INSECURE

    @property
    def is_limited(self) -> bool:
        """Whether the step has limits of a cgroup."""
        return self.resources != Resources()

    @property
    def needs_cgroup(self) -> bool:
        """Whether the step can't stay in the engine's cgroup."""
        return self.is_limited or bool(self.cgroup_parent)


@frozen
class Host:
    """What the engine's surroundings allow."""

    rootless: bool
    """Whether the engine is in a user namespace."""
    mapped_ids: int = 1 << 32
    cgroup2: bool = True
    """Whether only the unified hierarchy of cgroups is there."""
    capabilities: int = (1 << len(CAPABILITIES)) - 1
    """What an insecure step can be given."""
    refused: str = ""
    """Why there are no namespaces, neither the engine's nor any for steps; empty if there are."""
    lift: str = ""
    """What would give them."""
    is_covered: bool = False
    """Whether parts of /proc are covered, as in most containers: then the kernel lets nobody mount another one."""

    @property
    def has_one_id(self) -> bool:
        """Whether files can belong to nobody but the user."""
        return self.rootless and self.mapped_ids == 1
