"""The OCI configuration of a step as it goes to runc as config.json, and as a part of a plan to our own sandbox.

The names are those of the documents. What is there only sometimes is `NotRequired`.

Source: OCI runtime-spec v1.1, config.md and config-linux.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NotRequired, TypedDict

if TYPE_CHECKING:
    from polyarch.twins.registration import TwinPlan


__all__ = [
    "DEV_LINKS",
    "Argument",
    "CallRule",
    "Capabilities",
    "Config",
    "ConsoleSize",
    "Device",
    "DeviceRule",
    "Handing",
    "HolderPlan",
    "IdMapping",
    "Limit",
    "Linux",
    "MountPoint",
    "Namespace",
    "Plan",
    "Process",
    "Root",
    "Seccomp",
    "StatNumbers",
    "User",
]

DEV_LINKS = {
    "fd": "/proc/self/fd",
    "stdin": "/proc/self/fd/0",
    "stdout": "/proc/self/fd/1",
    "stderr": "/proc/self/fd/2",
    "ptmx": "pts/ptmx",
}
"""The links of /dev that a configuration doesn't list: each runtime makes them (config-linux.md, Dev symbolic links)."""


class User(TypedDict):
    """Whom the step runs as."""

    uid: int
    gid: int
    umask: int
    additionalGids: list[int]


class Capabilities(TypedDict):
    """The sets of capabilities, by their names with CAP_; `bounding` None leaves that set as it is."""

    bounding: list[str] | None
    effective: list[str]
    permitted: list[str]
    inheritable: list[str]
    ambient: list[str]


class Limit(TypedDict):
    """A resource limit, called RLIMIT_...; the greatest number of 64 bits is no limit."""

    type: str
    soft: int
    hard: int


class ConsoleSize(TypedDict):
    """The size of a terminal in characters."""

    height: int
    width: int


class Process(TypedDict):
    """The step's program, and what it finds."""

    terminal: bool
    consoleSize: NotRequired[ConsoleSize]
    user: User
    args: list[str]
    env: list[str]
    cwd: str
    capabilities: Capabilities
    rlimits: list[Limit]
    noNewPrivileges: bool


class MountPoint(TypedDict):
    """A mount: binds have the option `rbind`."""

    destination: str
    type: str
    source: str
    options: list[str]


class Namespace(TypedDict):
    """A namespace: a new one, or that at `path`."""

    type: str
    path: NotRequired[str]


class IdMapping(TypedDict):
    """A range of ids in a user namespace, and outside of it."""

    containerID: int
    hostID: int
    size: int


class Device(TypedDict):
    """A device node to make; `type` is "c" or "b"."""

    path: str
    type: str
    major: int
    minor: int
    fileMode: int
    uid: int
    gid: int


class DeviceRule(TypedDict):
    """Whether devices may be opened: those of a type and number, or all."""

    allow: bool
    access: str
    type: NotRequired[str]
    major: NotRequired[int]
    minor: NotRequired[int]


class Argument(TypedDict):
    """What an argument of a system call has to be: `value` is compared, as `op` (SCMP_CMP_...) says."""

    index: int
    value: int
    op: str
    valueTwo: NotRequired[int]


class CallRule(TypedDict):
    """What is done about system calls, of all their arguments or of some only."""

    names: list[str]
    action: str
    args: NotRequired[list[Argument]]
    errnoRet: NotRequired[int]


class Seccomp(TypedDict):
    """A filter of system calls."""

    defaultAction: str
    defaultErrnoRet: int
    architectures: list[str]
    syscalls: list[CallRule]


class Linux(TypedDict):
    """What is Linux's own."""

    namespaces: list[Namespace]
    maskedPaths: list[str]
    readonlyPaths: list[str]
    rootfsPropagation: str
    devices: list[Device]
    cgroupsPath: NotRequired[str]
    uidMappings: NotRequired[list[IdMapping]]
    gidMappings: NotRequired[list[IdMapping]]
    resources: NotRequired[dict[str, object]]
    seccomp: NotRequired[Seccomp]


class Root(TypedDict):
    """The directory that becomes the root."""

    path: str
    readonly: bool


class Config(TypedDict):
    """A whole configuration."""

    ociVersion: str
    process: Process
    root: Root
    hostname: str
    mounts: list[MountPoint]
    linux: Linux


class StatNumbers(TypedDict):
    """What has to be known of a machine whose stat calls are answered outside of the step."""

    machine: str
    newfstatat: int
    statx: int


class Handing(TypedDict):
    """Which calls of a step a process outside of it answers, and what that has to know.

    `what` is a `Handed`; `listen` the number of seccomp(2); `namespace` the path of the user namespace.
    """

    what: str
    calls: list[list[int | str]]
    listen: int
    namespace: str
    stat: StatNumbers


class HolderPlan(TypedDict):
    """What a holder of a user namespace is sent: lines to register, in hexadecimal, by name, and sets of twins."""

    handlers: list[tuple[str, str]]
    twins: list[TwinPlan]


class Plan(TypedDict):
    """What the sandbox is sent of a step.

    `nodev` closes devices by the mounts' options, `seccomp` is a filter's program in hexadecimal, and `cgroups`
    are the directories of those that the step is put into. An `announced` one hands out a descriptor of its first
    process before its program starts; one `beside` another step is given that one's, and joins it.
    """

    config: Config
    nodev: bool
    seccomp: str
    cgroups: list[str]
    handed: NotRequired[Handing]
    chroot: NotRequired[bool]
    announced: NotRequired[bool]
    beside: NotRequired[bool]
