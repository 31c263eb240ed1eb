"""Architecture -> the QEMU program that runs its programs on this CPU, where it is, and how to set it up.

Only static programs count: a handler's interpreter is opened once (flag `F`), but the loader of a
dynamic one would be looked for in the root of the step. What the machine has comes first, in the order of
`searched`; behind it come those that were fetched from an image (`kept.py`).
"""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from polyarch.emulation.binfmt import BinfmtMount, Handler, get_handler
from polyarch.emulation.elf import read_elf_file
from polyarch.emulation.facts import Facts, stamp
from polyarch.emulation.kept import KeptEmulators, all_kept, emulator_image
from polyarch.errors import InputError, MachineError
from polyarch.process import run
from polyarch.record import field, frozen

__all__ = [
    "Candidate",
    "Emulator",
    "emulator_from",
    "emulator_name",
    "find_emulator",
    "find_emulators",
    "find_path",
    "is_usable",
    "program_names",
    "searched",
]

_BUILDKIT_NAMES = {"amd64": "x86_64", "arm64": "aarch64", "386": "i386"}
_DIRECTORY = "/usr/libexec/qemu-binfmt"
_VARIABLES = ("POLYARCH_QEMU_PATH", "QEMU_BINARY_PATH", "PATH")
_SETTINGS = ("/etc/binfmt.d", "/run/binfmt.d", "/usr/local/lib/binfmt.d", "/usr/lib/binfmt.d")
"""Where systemd's binfmt.d(5) has handlers, the nearer ones first."""


def emulator_name(architecture: str) -> str:
    """Return X of the `buildkit-qemu-X` that BuildKit looks for."""
    return _BUILDKIT_NAMES.get(architecture, architecture)


@frozen
class Candidate:
    """A place where an emulator may be, and what leads there, as people are told of it."""

    path: str
    origin: str


@frozen
class Emulator:
    """A static QEMU user-mode program. `version` is its major and minor number, (0, 0) if unknown.

    `origin` is what has led to it: a variable, a directory, or the image that it was fetched from; `model` is
    the CPU that it is to emulate, None for the usual one.
    """

    handler: Handler
    path: str
    version: tuple[int, int]
    origin: str = field(default="", compare=False)
    model: str | None = None

    @property
    def shown_version(self) -> str:
        """The version as people read it."""
        return ".".join(map(str, self.version)) if self.version > (0, 0) else "of unknown version"

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
        if self.model is not None:
            return self.model
        is_slow = self.handler.architecture == "arm64" and (6, 0) <= self.version < (10, 0)
        return "max,pauth-impdef=on" if is_slow else ""


def find_emulator(
    architecture: str, facts: Facts, environ: Mapping[str, str] = os.environ
) -> Emulator | None:
    """Find the emulator for Linux programs of an architecture; all variants of it share one.

    The first usable one that `searched` gives.
    """
    return next(find_emulators(architecture, facts, environ), None)


def find_emulators(
    architecture: str,
    facts: Facts,
    environ: Mapping[str, str] = os.environ,
    *,
    every: bool = False,
) -> Iterator[Emulator]:
    """Find all emulators for an architecture, each once, the one that is to be used first.

    With `every` also those of images that aren't the configured one.
    """
    try:
        handler = get_handler(architecture)
    except InputError:
        return
    seen = set()
    for candidate in searched(handler, environ, facts.directory, every=every):
        if is_usable(candidate.path) and (real := os.path.realpath(candidate.path)) not in seen:
            seen.add(real)
            yield emulator_from(handler, real, facts, candidate.origin)


def find_path(
    handler: Handler, environ: Mapping[str, str] = os.environ, root: Path | None = None
) -> str:
    """Return where the emulator for a handler is, without running it; "" if there is none.

    `root` is the store, where fetched ones are.
    """
    paths = (candidate.path for candidate in searched(handler, environ, root))
    return next(filter(is_usable, paths), "")


def is_usable(path: str) -> bool:
    """Tell whether a file can be an emulator: a program that may be run, and is static."""
    return os.access(path, os.X_OK) and _is_static(path)


def emulator_from(handler: Handler, path: str, facts: Facts, origin: str = "") -> Emulator:
    """Return the emulator at `path` for the programs of a handler, with its version."""
    real = os.path.realpath(path)
    version = facts.get(f"qemu version {stamp(real)}", functools.partial(_version, real))
    major, minor = version.split(".")
    return Emulator(handler=handler, path=real, version=(int(major), int(minor)), origin=origin)


def searched(
    handler: Handler,
    environ: Mapping[str, str],
    root: Path | None = None,
    *,
    every: bool = False,
) -> Iterator[Candidate]:
    """Give the places where the emulator for a handler may be, whether there is something or not.

    `$POLYARCH_QEMU_PATH` and `$QEMU_BINARY_PATH` (directories, like PATH), PATH, where distributions keep
    emulators for binfmt, what is to be registered at boot, what is registered, and what was fetched from
    the configured image (with `every`, from others, too).
    """
    names = program_names(handler, environ.get("QEMU_BINARY_PREFIX", ""))
    for variable in _VARIABLES:
        for directory in filter(None, environ.get(variable, "").split(":")):
            yield from _in(directory, names, f"${variable}")
    yield from _in(_DIRECTORY, (f"{handler.qemu}-binfmt-P", f"qemu-{handler.qemu}"), _DIRECTORY)
    yield from _at_boot(handler)
    for entry in BinfmtMount().entries():
        if entry.matches(handler.magic) and "qemu" in os.path.basename(entry.interpreter):
            yield Candidate(path=entry.interpreter, origin=f"the machine's handler {entry.name}")
    for kept in _kept(environ, root, every=every):
        yield from _in(str(kept.directory), program_names(handler), kept.origin)


def program_names(handler: Handler, prefix: str = "") -> tuple[str, ...]:
    """Return what the emulator for a handler may be called, the likeliest name first."""
    names = (f"{prefix}qemu-{handler.qemu}-static", f"{prefix}qemu-{handler.qemu}")
    return (*names, f"buildkit-qemu-{emulator_name(handler.architecture)}")


def _in(directory: str, names: Iterable[str], origin: str) -> Iterator[Candidate]:
    for name in names:
        yield Candidate(path=os.path.join(directory, name), origin=origin)


def _at_boot(handler: Handler) -> Iterator[Candidate]:
    """Give the interpreters of the lines for a handler that are registered when the machine starts."""
    for directory in _SETTINGS:
        path = os.path.join(directory, f"{handler.entry}.conf")
        try:
            lines = Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            continue
        for line in lines:
            # :name:type:offset:magic:mask:interpreter:flags, with any first letter between them
            fields = line.split(line[:1]) if line[:1] not in {"", "#", ";"} else []
            if len(fields) == 8 and fields[1] == handler.entry:
                yield Candidate(path=fields[6], origin=path)


def _kept(environ: Mapping[str, str], root: Path | None, *, every: bool) -> Iterator[KeptEmulators]:
    wanted = emulator_image(environ)
    kept = all_kept(root)
    yield from (each for each in kept if wanted in each.addresses)
    if every:
        yield from (each for each in kept if wanted not in each.addresses)


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
