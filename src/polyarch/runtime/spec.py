"""A step as a value -> the configuration of a container, for runc, crun and our own sandbox alike.

What a step may do and see is what BuildKit gives to it: Docker's default capabilities, paths and seccomp
profile, no terminal, the host's network unless it is to have none. In a user namespace some mounts are
refused by the kernel and replaced by what comes closest: `Host` says which.

Source: OCI runtime-spec 1.0.2, config.md and config-linux.md.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from enum import StrEnum
from typing import Any

from polyarch.record import frozen, replace
from polyarch.runtime.seccomp import oci_profile

__all__ = [
    "DEFAULT_CAPABILITIES",
    "SHM",
    "SYSTEM_FOLDERS",
    "Bind",
    "DeviceNode",
    "Host",
    "Mount",
    "Network",
    "Resources",
    "Security",
    "Step",
    "Tmpfs",
    "Ulimit",
    "base_devices",
    "bound_devices",
    "capability_names",
    "hosts_file",
    "oci_config",
    "resolv_conf",
]

Json = dict[str, Any]

HOSTNAME = "buildkitsandbox"
_SHM_SIZE = 64 << 20
SHM = "/dev/shm"  # noqa: S108 a mount point

CAPABILITIES = (  # noqa: SIM905 a table to read, not a list to scroll through
    "CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE "
    "NET_BIND_SERVICE NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO "
    "SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE SYS_RESOURCE SYS_TIME "
    "SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG "
    "WAKE_ALARM BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE"
).split()
"""All capabilities, by number (linux/capability.h)."""

DEFAULT_CAPABILITIES = 0x00000000A80425FB
"""What a step gets unless it is `insecure`, as a bit set."""

SYSTEM_FOLDERS = ("/proc", "/dev", "/sys")
"""Where the system's own file systems are mounted in every root."""

_MASKED_PATHS = (
    "/proc/acpi",
    "/proc/asound",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
_READ_ONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
_DEVICES = (("null", 3), ("zero", 5), ("full", 7), ("random", 8), ("urandom", 9))
"""The devices of every step that are kin to memory (major number 1), and their minor numbers."""
_INSECURE_DEVICES = ("kmsg", "cuse", "fuse", "kvm", "net/tun", "loop-control")
_LOCKED = ["nosuid", "nodev", "noexec"]
_UNLIMITED = 1 << 64


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
    """A file or folder of ours that the step sees at `target`, with all that is mounted below it."""

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
class Ulimit:
    """A resource limit: `name` as in `nofile`; -1 is none."""

    name: str
    soft: int
    hard: int


@frozen
class Resources:
    """Limits of a step's cgroup, as Docker has them; None or empty: none."""

    memory: int | None = None
    """In bytes."""
    memory_swap: int | None = None
    """Memory and swap together, in bytes; -1 for no limit."""
    cpu_shares: int | None = None
    cpu_period: int | None = None
    """In microseconds."""
    cpu_quota: int | None = None
    cpuset_cpus: str = ""
    cpuset_mems: str = ""


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
    resources: Resources | None = None
    user_namespace: str = ""

    @property
    def insecure(self) -> bool:
        """Whether the step gets everything that we have."""
        return self.security is Security.INSECURE

    @property
    def needs_cgroup(self) -> bool:
        """Whether the step can't stay in the engine's cgroup."""
        return self.resources is not None or bool(self.cgroup_parent)


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


def capability_names(bits: int) -> list[str]:
    """Return the names of a set of capabilities, by number."""
    return [f"CAP_{name}" for number, name in enumerate(CAPABILITIES) if bits >> number & 1]


def oci_config(step: Step, host: Host, *, cgroup: str = "", seccomp: bool = True) -> Json:
    """Return the OCI configuration (config.json) for `step`.

    `cgroup` is the path of its cgroup below the root of the hierarchy. `seccomp` False leaves the
    profile out, for a runtime that has it already in another form.
    """
    bits = host.capabilities if step.insecure else DEFAULT_CAPABILITIES
    names = capability_names(bits)
    inherited = names if step.insecure else []
    return {
        "ociVersion": "1.0.2",
        "process": {
            "terminal": False,
            "user": {
                "uid": step.uid,
                "gid": step.gid,
                "umask": 0o022,
                # Where a single id is mapped, groups can't be set at all (setgroups is denied).
                "additionalGids": list(step.groups) if host.mapped_ids > 1 else [],
            },
            "args": list(step.argv),
            "env": list(step.env),
            "cwd": step.cwd,
            "capabilities": {
                "bounding": names,
                "effective": names,
                "permitted": names,
                "inheritable": inherited,
                "ambient": inherited,
            },
            "rlimits": [
                {
                    "type": f"RLIMIT_{each.name.upper()}",
                    # The kernel's "no limit" is the greatest number; runc reads no negative ones.
                    "soft": each.soft % _UNLIMITED,
                    "hard": each.hard % _UNLIMITED,
                }
                for each in step.ulimits
            ],
            "noNewPrivileges": False,
        },
        "root": {"path": step.rootfs, "readonly": False},
        "hostname": step.hostname,
        "mounts": _mounts(step, host),
        "linux": _linux(step, host, cgroup, seccomp=seccomp),
    }


def _linux(step: Step, host: Host, cgroup: str, *, seccomp: bool) -> Json:
    """Return the part of the configuration that is Linux's own."""
    linux: Json = {
        "namespaces": _namespaces(step, host),
        "maskedPaths": [] if step.insecure else list(_MASKED_PATHS),
        "readonlyPaths": [] if step.insecure else list(_READ_ONLY_PATHS),
        "rootfsPropagation": "slave",
        "devices": _devices(step),
    }
    if cgroup:
        linux["cgroupsPath"] = cgroup
    if step.user_namespace:
        identity = [{"containerID": 0, "hostID": 0, "size": 4294967295}]
        linux["uidMappings"] = linux["gidMappings"] = identity
    everything: Json = {"allow": step.insecure, "access": "rwm"}
    if step.insecure or not host.rootless:
        # Said in so many words: with no rules at all crun lets a step open some of the machine's devices.
        given = [] if step.insecure else [_allowance(each) for each in step.devices]
        linux["resources"] = {"devices": [everything, *given]}
    if seccomp and not step.insecure:
        linux["seccomp"] = oci_profile()
    if step.resources is not None and cgroup:
        linux.setdefault("resources", {}).update(_oci_resources(step.resources))
    return linux


def base_devices() -> list[Json]:
    """Return the devices of every step, which runc and crun make without being told."""
    memory = [_device(f"/dev/{name}", "c", 1, minor, 0o666) for name, minor in _DEVICES]
    return [*memory, _device("/dev/tty", "c", 5, 0, 0o666)]


def _device(path: str, kind: str, major: int, minor: int, mode: int) -> Json:
    numbers = {"major": major, "minor": minor}
    return {"path": path, "type": kind, **numbers, "fileMode": mode, "uid": 0, "gid": 0}


def bound_devices(step: Step, host: Host) -> Step:
    """Return `step` with those devices as mounts that can't be made anew.

    Nobody but the machine's root may make nodes, and in the root file system they would stay.
    """
    bound = [each for each in step.devices if host.rootless or not each.path.startswith("/dev/")]
    binds = (Bind(source=each.source, target=each.path) for each in bound)
    return replace(step, mounts=(*step.mounts, *binds)) if bound else step


def _devices(step: Step) -> list[Json]:
    """Return the devices that are made for the step, each path once."""
    bound = {mount.target for mount in step.mounts}
    found = {each["path"]: each for each in _insecure_devices()} if step.insecure else {}
    for node in step.devices:
        if node.path not in bound:
            made = _device(node.path, node.kind, node.major, node.minor, node.mode)
            found[node.path] = {**made, "uid": node.uid, "gid": node.gid}
    return list(found.values())


def _allowance(node: DeviceNode) -> Json:
    """Return what makes runc let the step use a device."""
    numbers = {"major": node.major, "minor": node.minor}
    return {"allow": True, "type": node.kind, **numbers, "access": "rwm"}


def _insecure_devices() -> Iterator[Json]:
    """The devices of this machine that an insecure step gets besides."""
    loops = sorted(name for name in os.listdir("/dev") if re.fullmatch(r"loop\d+", name))
    for name in (*_INSECURE_DEVICES, *loops):
        try:
            status = os.stat(f"/dev/{name}")
        except OSError:
            continue
        kind = "b" if stat.S_ISBLK(status.st_mode) else "c"
        major, minor = os.major(status.st_rdev), os.minor(status.st_rdev)
        yield _device(f"/dev/{name}", kind, major, minor, stat.S_IMODE(status.st_mode))


def _namespaces(step: Step, host: Host) -> list[Json]:
    types = ["pid", "ipc", "uts", "mount"]
    if step.network is Network.NONE:
        types.append("network")
    if host.cgroup2:
        types.append("cgroup")
    namespaces: list[Json] = [{"type": each} for each in types]
    if step.user_namespace:
        namespaces.append({"type": "user", "path": step.user_namespace})
    return namespaces


def _system_mounts(step: Step, host: Host) -> list[Json]:
    """Return what every step sees of the system, parents before children."""
    in_user_namespace = host.rootless or bool(step.user_namespace)
    access = "rw" if step.insecure else "ro"
    # gid 5 (tty) can't be given to terminals if it is not mapped.
    tty = ["gid=5"] if host.mapped_ids > 5 else []
    sys = _mount("/sys", "sysfs", "sysfs", [*_LOCKED, access])
    if in_user_namespace and step.network is Network.HOST:
        # sysfs shows the network; who doesn't own that mustn't mount it.
        sys = _mount("/sys", "none", "/sys", ["rbind", *_LOCKED, access])
    shared_memory = _mount(SHM, "tmpfs", "shm", [*_LOCKED, "mode=1777", f"size={_SHM_SIZE}"])
    if step.shm_size:  # an ordinary file system in memory, as BuildKit mounts it
        options = ["nosuid", "mode=1777", f"size={step.shm_size}"]
        shared_memory = _mount(SHM, "tmpfs", "tmpfs", options)
    return [
        _mount("/proc", "proc", "proc", [*_LOCKED]),
        _mount("/dev", "tmpfs", "tmpfs", ["nosuid", "strictatime", "mode=755", "size=65536k"]),
        _mount(
            "/dev/pts",
            "devpts",
            "devpts",
            ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", *tty],
        ),
        shared_memory,
        _mount("/dev/mqueue", "mqueue", "mqueue", [*_LOCKED]),
        sys,
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", [*_LOCKED, access]),
    ]


def _mounts(step: Step, host: Host) -> list[Json]:
    """Return all mounts, each place once; one of the step's own stands where the system's would."""
    own = {mount["destination"]: mount for mount in map(_oci_mount, step.mounts)}
    system = _system_mounts(step, host)
    return [*(own.pop(each["destination"], each) for each in system), *own.values()]


def _mount(target: str, kind: str, source: str, options: list[str]) -> Json:
    return {"destination": target, "type": kind, "source": source, "options": options}


def _oci_mount(mount: Mount) -> Json:
    if isinstance(mount, Tmpfs):
        size = [f"size={mount.size}"] if mount.size else []
        read_only = ["ro"] if mount.read_only else []
        options = ["nosuid", *read_only, f"mode={mount.mode:o}", *size]
        return _mount(mount.target, "tmpfs", "tmpfs", options)
    access = "ro" if mount.read_only else "rw"
    return _mount(mount.target, "bind", mount.source, ["rbind", access, *mount.flags])


def _oci_resources(resources: Resources) -> Json:
    memory = {"limit": resources.memory, "swap": resources.memory_swap}
    cpu = {
        "shares": resources.cpu_shares,
        "quota": resources.cpu_quota,
        "period": resources.cpu_period,
        "cpus": resources.cpuset_cpus or None,
        "mems": resources.cpuset_mems or None,
    }
    parts: dict[str, Json] = {"memory": memory, "cpu": cpu}
    return {
        name: {key: value for key, value in part.items() if value is not None}
        for name, part in parts.items()
        if any(value is not None for value in part.values())
    }


def hosts_file(hostname: str, extra: tuple[tuple[str, str], ...] = ()) -> str:
    """Return the content of a step's /etc/hosts; `extra` holds pairs of name and address."""
    lines = [f"127.0.0.1\tlocalhost {hostname}", "::1\tlocalhost ip6-localhost ip6-loopback"]
    return "".join(f"{line}\n" for line in (*lines, *(f"{ip}\t{name}" for name, ip in extra)))


_PUBLIC_SERVERS = ("8.8.8.8", "8.8.4.4", "2001:4860:4860::8888", "2001:4860:4860::8844")


def resolv_conf(host: str, network: Network, *, dns: Json | None = None) -> str:
    """Return the content of a step's /etc/resolv.conf, made from the host's.

    On the host's network it is the host's own. Else name servers on the loopback interface can't be
    reached and are left out, and public ones stand in if none remain. `dns` holds the lists
    `nameservers`, `options` and `searchDomains` of the daemon's configuration; each replaces its kind.
    """
    given = dns or {}
    kinds = {"nameserver": "nameservers", "search": "searchDomains", "options": "options"}
    replaced = {word for word, key in kinds.items() if given.get(key)}
    lines = [line for line in host.splitlines() if _keyword(line) not in replaced]
    lines += [f"nameserver {server}" for server in given.get("nameservers") or ()]
    if given.get("searchDomains"):
        lines.append("search " + " ".join(given["searchDomains"]))
    if given.get("options"):
        lines.append("options " + " ".join(given["options"]))
    if network is not Network.HOST:
        lines = [line for line in lines if not _is_loopback_server(line)]
        if not any(_keyword(line) == "nameserver" for line in lines):
            lines += [f"nameserver {server}" for server in _PUBLIC_SERVERS]
    return "".join(f"{line}\n" for line in lines)


def _keyword(line: str) -> str:
    return line.partition("#")[0].partition(";")[0].split(" ")[0].strip()


def _is_loopback_server(line: str) -> bool:
    words = line.split()
    return words[:1] == ["nameserver"] and words[1:2] != [] and words[1].startswith(("127.", "::1"))
