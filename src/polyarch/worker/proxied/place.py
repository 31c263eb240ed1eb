"""A network namespace that has a loopback interface and, on it, a socket that this process listens on.

Whatever is in it reaches nobody but us. It is made by a thread that goes into it and ends, and lasts as long as something of it
is open: nothing is to be cleared away, and no interface of the machine is touched, so ordinary users can make one.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from polyarch import syscalls
from polyarch.errors import MachineError
from polyarch.record import frozen

__all__ = ["PORT", "Place", "open_place"]

PORT = 36128
"""Always the same, as steps see it. Nobody else is on this loopback interface before the step."""
_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


@frozen
class Place:
    """A namespace: its path for a runtime, and the socket that listens in it."""

    path: str
    listener: socket.socket


@contextmanager
def open_place() -> Iterator[Place]:
    """Give a network namespace. Raises MachineError where the kernel refuses one."""
    made: list[tuple[int, socket.socket]] = []
    failures: list[OSError] = []

    def make() -> None:
        try:
            with ExitStack() as on_error:
                syscalls.unshare(syscalls.CLONE_NEWNET)
                _raise_loopback()
                listener = on_error.enter_context(socket.create_server(("127.0.0.1", PORT)))
                namespace = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
                on_error.pop_all()
            made.append((namespace, listener))
        except OSError as error:
            failures.append(error)

    thread = threading.Thread(target=make, name="network")
    thread.start()
    thread.join()
    if not made:
        raise MachineError(
            f"can't make a network for a step: {failures[0].strerror if failures else 'no reason given'}",
            hint="leave out --proxy-network; 'polyarch doctor' tells what this machine allows",
        )
    [(namespace, listener)] = made
    try:
        with listener:
            yield Place(path=f"/proc/{os.getpid()}/fd/{namespace}", listener=listener)
    finally:
        os.close(namespace)


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as anything:
        fcntl.ioctl(anything, _SIOCSIFFLAGS, struct.pack("16sh22x", b"lo", _IFF_UP))
