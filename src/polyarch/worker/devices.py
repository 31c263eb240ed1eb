"""Devices of CDI -> what a step gets of them: nodes, mounts, variables and groups."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence

from polyarch.cdi.devices import Devices
from polyarch.cdi.spec import Device, Edits, Mount, Node
from polyarch.errors import MachineError, NotFound
from polyarch.record import replace
from polyarch.runtime.step import Bind, DeviceNode, Step

__all__ = ["with_devices"]

_FLAGS = frozenset({"nosuid", "nodev", "noexec"})
_BINDS = frozenset({"", "bind", "none"})


def with_devices(step: Step, names: Sequence[str], devices: Devices) -> Step:
    """Return `step` with what the devices of these full names need.

    Variables of devices stand above the step's own. Raises NotFound if a device, or a file that it names,
    isn't there; MachineError for what steps can't be given.
    """
    found = devices.get(names)
    for device in found:
        _check(device)
    edits, common = Edits(), set[str]()
    for device in found:
        # What all devices of a file have in common comes once.
        if device.origin not in common:
            edits += device.common
        common.add(device.origin)
        edits += device.edits
    env = dict(entry.partition("=")[::2] for entry in (*step.env, *edits.env))
    return replace(
        step,
        env=tuple(f"{name}={value}" for name, value in env.items()),
        groups=tuple(dict.fromkeys((*step.groups, *edits.groups))),
        mounts=(*step.mounts, *map(_bind, edits.mounts)),
        devices=tuple(
            {each.path: each for each in (_node(it, step) for it in edits.nodes)}.values()
        ),
    )


def _check(device: Device) -> None:
    unknown = dict.fromkeys((*device.common.unknown, *device.edits.unknown))
    if unknown:
        raise MachineError(
            f"the device {device.name} can't be given to a step: it needs {', '.join(unknown)}",
            hint="only device nodes, mounts, variables and groups of its description can be carried out; "
            "describe it without the rest, if it works so",
        )


def _bind(mount: Mount) -> Bind:
    if mount.type not in _BINDS:
        raise MachineError(
            f"a device needs a mount of type {mount.type} at {mount.target}, which steps can't be given"
        )
    if not os.path.exists(mount.source):
        raise NotFound(f"{mount.source}, which a device needs, is not there")
    return Bind(
        source=mount.source,
        target=os.path.normpath(mount.target),
        read_only="ro" in mount.options,
        flags=tuple(each for each in mount.options if each in _FLAGS),
    )


def _node(node: Node, step: Step) -> DeviceNode:
    """Complete a node by what is there; like CDI's own library, it belongs to the step's user."""
    kind, number = node.kind, os.makedev(node.major, node.minor)
    if not kind or not number:
        try:
            status = os.stat(node.source)
        except OSError as error:
            raise NotFound(f"{node.source}, a device, is not there: {error.strerror}") from error
        if not stat.S_ISCHR(status.st_mode) and not stat.S_ISBLK(status.st_mode):
            raise MachineError(f"{node.source} is no device")
        kind, number = "b" if stat.S_ISBLK(status.st_mode) else "c", status.st_rdev
    return DeviceNode(
        path=os.path.normpath(node.path),
        source=node.source,
        kind="b" if kind == "b" else "c",
        major=os.major(number),
        minor=os.minor(number),
        mode=0o666 if node.mode is None else stat.S_IMODE(node.mode),
        uid=step.uid if node.uid is None else node.uid,
        gid=step.gid if node.gid is None else node.gid,
    )
