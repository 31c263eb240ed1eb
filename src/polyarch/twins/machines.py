"""Platforms -> the names of machines that QEMU's user mode answers `uname` with.

Source: `cpu_to_uname_machine` and `UNAME_MACHINE` in linux-user of QEMU, for the CPUs that it has by default.
"""

from __future__ import annotations

from polyarch.platforms import Platform

__all__ = ["find_machine"]

_MACHINES = {
    "arm64": "aarch64",
    "arm": "armv7l",
    "riscv64": "riscv64",
    "ppc64le": "ppc64le",
    "386": "i686",
    "loong64": "loongarch64",
}
"""No big-endian ones: glibc's files of locales are written in the order of bytes of the machine."""


def find_machine(platform: Platform) -> str | None:
    """Return what `uname -m` is on an emulated machine; None if native twins can't stand for it."""
    return _MACHINES.get(platform.architecture) if platform.os == "linux" else None
