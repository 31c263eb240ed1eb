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
from collections.abc import Iterator, Mapping
from pathlib import Path

from polyarch.record import replace
from polyarch.request.limits import Resources
from polyarch.runtime.capability import DEFAULT_CAPABILITIES, capability_names
from polyarch.runtime.configuration import (
    Config,
    Device,
    DeviceRule,
    IdMapping,
    Linux,
    MountPoint,
    Namespace,
)
from polyarch.runtime.seccomp import oci_profile
from polyarch.runtime.step import SHM, Bind, DeviceNode, Host, Mount, Network, Step, Tmpfs
from polyarch.twins.places import CPUINFO, MOUNTED

__all__ = ["SYSTEM_DIRECTORIES", "base_devices", "bound_devices", "oci_config"]


_SHM_SIZE = 64 << 20
_CPU = "/proc/cpuinfo"

SYSTEM_DIRECTORIES = ("/proc", "/dev", "/sys")
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
_LENT = ("nosuid", "nodev")
"""Restrictions of programs that are lent to a step."""
_UNLIMITED = 1 << 64


def oci_config(step: Step, host: Host, *, cgroup: str = "", seccomp: bool = True) -> Config:
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


def _linux(step: Step, host: Host, cgroup: str, *, seccomp: bool) -> Linux:
    """Return the part of the configuration that is Linux's own."""
    masked, read_only = ((), ()) if step.insecure else (_MASKED_PATHS, _READ_ONLY_PATHS)
    linux: Linux = {
        "namespaces": _namespaces(step, host),
        "maskedPaths": list(masked),
        "readonlyPaths": list(read_only),
        "rootfsPropagation": "slave",
        "devices": _devices(step),
    }
    if cgroup:
        linux["cgroupsPath"] = cgroup
    if step.user_namespace:
        identity: list[IdMapping] = [{"containerID": 0, "hostID": 0, "size": 4294967295}]
        linux["uidMappings"] = linux["gidMappings"] = identity
    resources = _oci_resources(step.resources) if cgroup else {}
    if step.insecure or not host.rootless:
        resources["devices"] = _device_rules(step)
    if resources:
        linux["resources"] = resources
    if seccomp and not step.insecure:
        linux["seccomp"] = oci_profile()
    return linux


def _device_rules(step: Step) -> list[DeviceRule]:
    """Return which devices may be opened.

    That none may is said in so many words: without any rule crun lets a step open some of the machine's.
    """
    if step.insecure:
        return [{"allow": True, "access": "rwm"}]
    return [{"allow": False, "access": "rwm"}, *map(_allowance, step.devices)]


def base_devices() -> list[Device]:
    """Return the devices of every step, which runc and crun make without being told."""
    memory = [_device(f"/dev/{name}", "c", 1, minor, 0o666) for name, minor in _DEVICES]
    return [*memory, _device("/dev/tty", "c", 5, 0, 0o666)]


def _device(path: str, kind: str, major: int, minor: int, mode: int) -> Device:
    return {
        "path": path,
        "type": kind,
        "major": major,
        "minor": minor,
        "fileMode": mode,
        "uid": 0,
        "gid": 0,
    }


def bound_devices(step: Step, host: Host) -> Step:
    """Return `step` with those devices as mounts that can't be made anew.

    Nobody but the machine's root may make nodes, and in the root file system they would stay.
    """
    bound = [each for each in step.devices if host.rootless or not each.path.startswith("/dev/")]
    binds = (Bind(source=each.source, target=each.path) for each in bound)
    return replace(step, mounts=(*step.mounts, *binds)) if bound else step


def _devices(step: Step) -> list[Device]:
    """Return the devices that are made for the step, each path once."""
    bound = {mount.target for mount in step.mounts}
    found = {each["path"]: each for each in _insecure_devices()} if step.insecure else {}
    for node in step.devices:
        if node.path not in bound:
            made = _device(node.path, node.kind, node.major, node.minor, node.mode)
            found[node.path] = {**made, "uid": node.uid, "gid": node.gid}
    return list(found.values())


def _allowance(node: DeviceNode) -> DeviceRule:
    """Return what makes runc let the step use a device."""
    return {
        "allow": True,
        "type": node.kind,
        "major": node.major,
        "minor": node.minor,
        "access": "rwm",
    }


def _insecure_devices() -> Iterator[Device]:
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


def _namespaces(step: Step, host: Host) -> list[Namespace]:
    types = ["pid", "ipc", "uts", "mount"]
    if step.network is Network.NONE:
        types.append("network")
    if host.cgroup2:
        types.append("cgroup")
    namespaces: list[Namespace] = [{"type": each} for each in types]
    if step.network_namespace:
        namespaces[types.index("network")]["path"] = step.network_namespace
    if step.user_namespace:
        namespaces.append({"type": "user", "path": step.user_namespace})
    return namespaces


def _system_mounts(step: Step, host: Host) -> list[MountPoint]:
    """Return what every step sees of the system, parents before children."""
    in_user_namespace = host.rootless or bool(step.user_namespace)
    access = "rw" if step.insecure else "ro"
    # gid 5 (tty) can't be given to terminals if it is not mapped.
    tty = ["gid=5"] if host.mapped_ids > 5 else []
    sys = _mount("/sys", "sysfs", "sysfs", [*_LOCKED, access])
    is_foreign = step.network is Network.HOST or (step.network_namespace and step.user_namespace)
    if in_user_namespace and is_foreign:
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


def _mounts(step: Step, host: Host) -> list[MountPoint]:
    """Return all mounts, each place once; one of the step's own stands where the system's would."""
    own = {mount["destination"]: mount for mount in map(_oci_mount, step.mounts)}
    if step.twins is not None:
        lent = Bind(source=str(step.twins), target=MOUNTED, read_only=True, flags=_LENT)
        own = {MOUNTED: _oci_mount(lent), **_shown_cpu(step.twins), **own}
    system = _system_mounts(step, host)
    return [*(own.pop(each["destination"], each) for each in system), *own.values()]


def _shown_cpu(twins: Path) -> dict[str, MountPoint]:
    """Return what native programs see of the CPU, where emulated ones see what their emulator makes up."""
    # All sets that a step has are for one platform, so for one emulator.
    shown = next(iter(sorted(twins.glob(f"*/{CPUINFO}"))), None)
    if shown is None:
        return {}
    return {_CPU: _oci_mount(Bind(source=str(shown), target=_CPU, read_only=True, flags=_LENT))}


def _mount(target: str, kind: str, source: str, options: list[str]) -> MountPoint:
    return {"destination": target, "type": kind, "source": source, "options": options}


def _oci_mount(mount: Mount) -> MountPoint:
    if isinstance(mount, Tmpfs):
        size = [f"size={mount.size}"] if mount.size else []
        read_only = ["ro"] if mount.read_only else []
        options = ["nosuid", *read_only, f"mode={mount.mode:o}", *size]
        return _mount(mount.target, "tmpfs", "tmpfs", options)
    access = "ro" if mount.read_only else "rw"
    return _mount(mount.target, "bind", mount.source, ["rbind", access, *mount.flags])


def _oci_resources(resources: Resources) -> dict[str, object]:
    memory: Mapping[str, object] = {"limit": resources.memory, "swap": resources.memory_swap}
    cpu: Mapping[str, object] = {
        "shares": resources.cpu_shares,
        "quota": resources.cpu_quota,
        "period": resources.cpu_period,
        "cpus": resources.cpuset_cpus,
        "mems": resources.cpuset_mems,
    }
    parts = {"memory": memory, "cpu": cpu}
    return {
        name: {key: value for key, value in part.items() if value}
        for name, part in parts.items()
        if any(part.values())
    }
