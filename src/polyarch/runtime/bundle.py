"""What a step needs around it on disk: mount points in its root, network files, a bundle for runc.

A mount needs something to be mounted on. What is missing in the root is made before the step and
removed after it if it is still empty, with the times of the parents as they were before each: nothing of
it gets into the layer, and what the step itself does to those folders shows. The plan is a value (`MountPoint`s), made without changing anything.
"""

from __future__ import annotations

import contextlib
import json
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from polyarch.errors import StoreError
from polyarch.inroot import resolve
from polyarch.record import frozen
from polyarch.runtime.spec import Bind, Network, Step, hosts_file, resolv_conf

__all__ = ["MountPoint", "mount_points", "network_files", "plan_mount_points", "write_bundle"]

_SYSTEM_TARGETS = ("/proc", "/dev", "/sys")
_STUB = "/run/systemd/resolve/resolv.conf"


@frozen
class MountPoint:
    """Something that is missing in a root and needed for a mount: `path` is ours, links resolved."""

    path: str
    is_folder: bool

    def describe(self) -> str:
        """Say in one line what will be made and removed again."""
        return f"{'folder' if self.is_folder else 'file'} {self.path}"


def plan_mount_points(step: Step) -> tuple[MountPoint, ...]:
    """Return what has to be made in the root of `step`, parents before children.

    Targets below a mount that is made before them are not the root's, and are left to the runtime.
    """
    wanted = dict.fromkeys(_SYSTEM_TARGETS, True)
    for mount in step.mounts:
        is_folder = not isinstance(mount, Bind) or os.path.isdir(mount.source)
        wanted[os.path.normpath(mount.target)] = is_folder
    missing: dict[str, bool] = {}
    before: list[str] = []
    for target, is_folder in wanted.items():
        before.append(target)
        if any(target.startswith(f"{other}/") for other in before):
            continue
        path = str(resolve(Path(step.rootfs), target))
        if not os.path.lexists(path):
            missing.setdefault(path, is_folder)
            for parent in _missing_parents(path):
                missing[parent] = True
    return tuple(MountPoint(path=path, is_folder=missing[path]) for path in sorted(missing))


def _missing_parents(path: str) -> Iterator[str]:
    while not os.path.lexists(path := os.path.dirname(path)):
        yield path


@contextlib.contextmanager
def mount_points(step: Step) -> Iterator[tuple[MountPoint, ...]]:
    """Make the missing mount points of `step` for the time of the block.

    Raises StoreError if the root can't be written to.
    """
    plan = plan_mount_points(step)
    try:
        with _same_times(plan):
            for point in plan:
                _make(point)
        yield plan
    finally:
        with _same_times(plan):
            for point in reversed(plan):
                _remove_if_empty(point)


@contextlib.contextmanager
def _same_times(plan: Iterable[MountPoint]) -> Iterator[None]:
    """Give those folders in which something is made or removed their times again."""
    made = {point.path for point in plan}
    times = {}
    for folder in {os.path.dirname(path) for path in made} - made:
        with contextlib.suppress(OSError):  # the step may have removed it
            status = os.stat(folder)
            times[folder] = (status.st_atime_ns, status.st_mtime_ns)
    try:
        yield
    finally:
        for folder, moments in times.items():
            with contextlib.suppress(OSError):
                os.utime(folder, ns=moments)


def _make(point: MountPoint) -> None:
    try:
        if point.is_folder:
            os.mkdir(point.path, 0o755)
        else:
            os.close(os.open(point.path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644))
    except OSError as error:
        raise StoreError(f"{point.path} can't be made for a mount: {error.strerror}") from error


def _remove_if_empty(point: MountPoint) -> None:
    with contextlib.suppress(OSError):
        if point.is_folder:
            os.rmdir(point.path)
            return
        status = os.lstat(point.path)
        if stat.S_ISREG(status.st_mode) and status.st_size == 0:
            os.unlink(point.path)


def network_files(
    folder: Path,
    *,
    hostname: str,
    network: Network,
    extra_hosts: tuple[tuple[str, str], ...] = (),
    dns: dict[str, Any] | None = None,
) -> tuple[Bind, ...]:
    """Write /etc/hosts and /etc/resolv.conf of a step into `folder`; return the mounts for them.

    `extra_hosts` holds pairs of name and address. Raises StoreError.
    """
    contents = {
        "/etc/resolv.conf": resolv_conf(_host_resolv_conf(), network, dns=dns),
        "/etc/hosts": hosts_file(hostname, extra_hosts),
    }
    binds = []
    for target, text in contents.items():
        source = folder / os.path.basename(target)
        try:
            source.write_text(text)
            source.chmod(0o644)
        except OSError as error:
            raise StoreError(f"{source} can't be written: {error.strerror}") from error
        flags = ("nosuid", "nodev", "noexec")
        binds.append(Bind(source=str(source), target=target, read_only=True, flags=flags))
    return tuple(binds)


def _host_resolv_conf() -> str:
    """Return the host's resolv.conf; systemd's real one if that only names systemd's own server."""
    text = _read("/etc/resolv.conf")
    lines = [line.split() for line in text.splitlines()]
    servers = {words[1] for words in lines if words[:1] == ["nameserver"] and len(words) > 1}
    if servers == {"127.0.0.53"}:
        return _read(_STUB) or text
    return text


def _read(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def write_bundle(folder: Path, config: dict[str, Any]) -> None:
    """Write an OCI configuration as the bundle `folder`. Raises StoreError."""
    try:
        (folder / "config.json").write_text(json.dumps(config))
    except OSError as error:
        raise StoreError(f"{folder} can't be written: {error.strerror}") from error
