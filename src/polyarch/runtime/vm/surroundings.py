"""What a machine has before its first step: a root in memory, devices, a network, room to swap to.

A machine's first root can't be changed for another one with pivot_root, which is how a step gets its own; so a
file system in memory is laid over it first. The network is QEMU's: one address, one way out, one name server.

Source: netdevice(7), rtentry in linux/route.h, -netdev user of QEMU.
"""

from __future__ import annotations

import socket
import struct

from polyarch.runtime.vm.agent import Agent
from polyarch.runtime.vm.batch import Batch
from polyarch.runtime.vm.program import Program

__all__ = ["NAME_SERVER", "prepare_machine", "raise_loopback"]

NAME_SERVER = "10.0.2.3"
_ADDRESS, _MASK, _GATEWAY = "10.0.2.15", "255.255.255.0", "10.0.2.2"
_SIOCADDRT, _SIOCSIFFLAGS, _SIOCSIFADDR, _SIOCSIFNETMASK = 0x890B, 0x8914, 0x8916, 0x891C
_UP, _RTF_UP, _RTF_GATEWAY = 1, 1, 2
_MS_MOVE = 8192
_AT_FDCWD = -100
_DIRECTORIES = ("dev", "proc", "share", "root", "step")


def prepare_machine(agent: Agent) -> Batch:
    """Return the calls that make a started machine ready for steps."""
    batch = Batch(agent)
    text = batch.program.text
    memory, new, top = text("tmpfs"), text("/new"), text("/")
    batch.do("mount", memory, new, memory, 0, text("mode=755"), to="make its root")
    for name in _DIRECTORIES:
        batch.do("mkdirat", _AT_FDCWD, text(f"/new/{name}"), 0o755, to=f"make /{name}")
    devices = text("devtmpfs")
    batch.do("mount", devices, text("/new/dev"), devices, 0, 0, to="show devices")
    batch.do("chdir", new, to="enter its root")
    batch.do("mount", text("."), top, 0, _MS_MOVE, 0, to="enter its root")
    batch.do("chroot", text("."), to="enter its root")
    batch.do("chdir", top, to="enter its root")
    # Both may fail: without a driver a machine has no network, and with larger pages no swap.
    batch.program.call("swapon", text("/dev/vda"), 0)
    _raise_network(batch.program)
    return batch


def _raise_network(program: Program) -> None:
    raise_loopback(program)
    opened = program.call("socket", socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 0)
    for request, address in ((_SIOCSIFADDR, _ADDRESS), (_SIOCSIFNETMASK, _MASK)):
        structure = struct.pack("16s16s8x", b"eth0", _internet(address))
        program.call("ioctl", opened, request, program.data(structure))
    program.call("ioctl", opened, _SIOCSIFFLAGS, program.data(_flags(b"eth0")))
    everything, flags = _internet("0.0.0.0"), _RTF_UP | _RTF_GATEWAY  # noqa: S104 no address to listen on
    route = struct.pack("8x16s16s16sH118x", everything, _internet(_GATEWAY), everything, flags)
    program.call("ioctl", opened, _SIOCADDRT, program.data(route))
    program.call("close", opened)


def raise_loopback(program: Program) -> None:
    """Add: bring up the interface that each network has."""
    opened = program.call("socket", socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC, 0)
    program.call("ioctl", opened, _SIOCSIFFLAGS, program.data(_flags(b"lo")))
    program.call("close", opened)


def _flags(name: bytes) -> bytes:
    return struct.pack("16sH22x", name, _UP)


def _internet(address: str) -> bytes:
    return struct.pack("H2x4s8x", socket.AF_INET, socket.inet_aton(address))
