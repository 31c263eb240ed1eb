"""Architecture -> the QEMU program that runs its programs on this CPU, where it is, and how to set it up.

Only static programs count: a handler's interpreter is opened once (flag `F`), but the loader of a
dynamic one would be looked for in the root of the step.
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterator, Mapping

from polyarch.emulation.binfmt import Handler, get_handler
from polyarch.emulation.elf import read_elf_file
from polyarch.emulation.facts import Facts, stamp
from polyarch.errors import InputError, MachineError
from polyarch.process import run
from polyarch.record import frozen

__all__ = [
    "Emulator",
    "emulator_from",
    "emulator_name",
    "find_emulator",
    "find_path",
]

_BUILDKIT_NAMES = {"amd64": "x86_64", "arm64": "aarch64", "386": "i386"}
_DIRECTORY = "/usr/libexec/qemu-binfmt"


def emulator_name(architecture: str) -> str:
    """Return X of the `buildkit-qemu-X` that BuildKit looks for."""
    return _BUILDKIT_NAMES.get(architecture, architecture)


@frozen
class Emulator:
    """A static QEMU user-mode program. `version` is its major and minor number, (0, 0) if unknown."""

    handler: Handler
    path: str
    version: tuple[int, int]

    @property
    def flags(self) -> str:
        """The flags to register it with; QEMU understands `P` since version 6."""
        return "CFP" if self.version >= (6, 0) else "CF"

    @property
    def cpu(self) -> str:
        """The model of CPU that should be emulated; "" for the default one.

        Before QEMU 10 the default CPU of aarch64 computes pointer authentication in full, which makes
        programs that use it up to ten times slower; `pauth-impdef`, since 6, takes a cheaper function.
        """
        is_slow = self.handler.architecture == "arm64" and (6, 0) <= self.version < (10, 0)
        return "max,pauth-impdef=on" if is_slow else ""


def find_emulator(
    architecture: str, facts: Facts, environ: Mapping[str, str] = os.environ
) -> Emulator | None:
    """Find the emulator for Linux programs of an architecture; all variants of it share one.

    Looks at `$POLYARCH_QEMU_PATH` and `$QEMU_BINARY_PATH` (directories, like PATH), then on PATH for
    `qemu-X-static`, `qemu-X` and `buildkit-qemu-X`, then where distributions keep those for binfmt.
    """
    try:
        handler = get_handler(architecture)
    except InputError:
        return None
    path = find_path(handler, environ)
    return emulator_from(handler, path, facts) if path else None


def find_path(handler: Handler, environ: Mapping[str, str] = os.environ) -> str:
    """Return where the emulator for a handler is, without running it; "" if there is none."""
    for path in _candidates(handler, environ):
        if os.access(path, os.X_OK) and _is_static(path):
            return path
    return ""


def emulator_from(handler: Handler, path: str, facts: Facts) -> Emulator:
    """Return the emulator at `path` for the programs of a handler, with its version."""
    real = os.path.realpath(path)
    version = facts.get(f"qemu version {stamp(real)}", functools.partial(_version, real))
    major, minor = version.split(".")
    return Emulator(handler=handler, path=real, version=(int(major), int(minor)))


def _candidates(handler: Handler, environ: Mapping[str, str]) -> Iterator[str]:
    prefix = environ.get("QEMU_BINARY_PREFIX", "")
    names = (f"{prefix}qemu-{handler.qemu}-static", f"{prefix}qemu-{handler.qemu}")
    patched = f"buildkit-qemu-{emulator_name(handler.architecture)}"
    for variable in ("POLYARCH_QEMU_PATH", "QEMU_BINARY_PATH", "PATH"):
        for directory in filter(None, environ.get(variable, "").split(":")):
            yield from (os.path.join(directory, name) for name in (*names, patched))
    yield os.path.join(_DIRECTORY, f"{handler.qemu}-binfmt-P")
    yield os.path.join(_DIRECTORY, f"qemu-{handler.qemu}")


def _is_static(path: str) -> bool:
    try:
        return read_elf_file(path).static
    except MachineError:
        return False


def _version(path: str) -> str:
    """Ask a QEMU program for its version; returns `major.minor`."""
    printed = run([path, "--version"], timeout=10).stdout.decode(errors="replace")
    found = re.search(r"version (\d+\.\d+)", printed)
    return found[1] if found else "0.0"
