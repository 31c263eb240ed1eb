"""A machine within the machine: user and mount namespaces with a binfmt_misc of their own.

The process that keeps them is root there, and so is who enters them as root. What is registered there is
seen by programs inside only, whose users have the numbers that they have outside.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from polyarch.emulation.binfmt import HANDLERS
from tests.support.machine.engines import SOURCE

__all__ = ["Enclave", "architectures_of", "enclave", "handler_lines"]

_KEEPER = """
import json, sys
from polyarch import syscalls
syscalls.unshare(syscalls.CLONE_NEWUSER | syscalls.CLONE_NEWNS)
print("unshared", flush=True)
sys.stdin.readline()
syscalls.mount("", "/", flags=syscalls.MS_REC | syscalls.MS_PRIVATE)
syscalls.mount("binfmt_misc", "/proc/sys/fs/binfmt_misc", "binfmt_misc")
for line in json.loads(sys.argv[1]):
    with open("/proc/sys/fs/binfmt_misc/register", "wb", buffering=0) as register:
        register.write(bytes.fromhex(line))
print("ready", flush=True)
sys.stdin.read()
"""
# Everyone has the number that they have outside. In two parts, as runc takes a user namespace that maps
# everything in one part for the machine itself.
_EVERYONE = "0 0 65536\n65536 65536 4294901759\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Enclave:
    """Where the namespaces are, while they last."""

    pid: int

    @property
    def user_namespace(self) -> str:
        return f"/proc/{self.pid}/ns/user"

    @property
    def enter(self) -> list[str]:
        """The words before a command that run it inside."""
        return ["nsenter", f"--target={self.pid}", "--user", "--mount", "--preserve-credentials"]

    def registered(self) -> str:
        """Return all that is registered inside, as the kernel shows it."""
        show = "cd /proc/sys/fs/binfmt_misc && grep -H '' $(ls | grep -v register)"
        return subprocess.run(
            [*self.enter, "sh", "-c", show], check=True, capture_output=True, text=True
        ).stdout


def handler_lines(architectures: Sequence[str], flags: str = "POCF") -> list[bytes]:
    """Return what to register for QEMU's emulators of some architectures (Go's names)."""
    lines = []
    for handler in HANDLERS:
        if handler.architecture in architectures:
            emulator = shutil.which(f"qemu-{handler.qemu}-static")
            assert emulator, f"qemu-user-static is needed for {handler.architecture}"
            lines.append(handler.as_entry(emulator, flags).register_line)
    return lines


@contextlib.contextmanager
def enclave(lines: Sequence[bytes]) -> Iterator[Enclave]:
    """Make the namespaces for the time of the block, with `lines` registered in this order."""
    keeper = subprocess.Popen(
        [sys.executable, "-B", "-c", _KEEPER, json.dumps([line.hex() for line in lines])],
        env={"PYTHONPATH": str(SOURCE)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert keeper.stdin is not None
    assert keeper.stdout is not None
    with keeper:
        try:
            assert keeper.stdout.readline() == b"unshared\n"
            for name in ("uid_map", "gid_map"):
                with open(f"/proc/{keeper.pid}/{name}", "w", encoding="ascii") as file:
                    file.write(_EVERYONE)
            keeper.stdin.write(b"\n")
            keeper.stdin.flush()
            assert keeper.stdout.readline() == b"ready\n"
            yield Enclave(pid=keeper.pid)
        finally:
            keeper.kill()


def architectures_of(header: bytes) -> tuple[str, ...]:
    """The architectures, sorted, whose programs begin like `header`: what the kernel would say."""
    return tuple(
        sorted(each.architecture for each in HANDLERS if each.as_entry("", "").matches(header))
    )
