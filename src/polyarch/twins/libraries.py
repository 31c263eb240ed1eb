"""The libraries that native programs of a root are linked to, with all that those are linked to.

Only the directories that loaders search by default are searched, inside the root.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from polyarch import inroot
from polyarch.errors import InputError, MachineError
from polyarch.record import frozen
from polyarch.twins.elffile import ElfFile

__all__ = [
    "LARGEST",
    "X86_64",
    "Library",
    "NativeLibraries",
    "find_library",
    "read_elf_in",
    "service_modules",
]

LARGEST = 64 << 20
"""Bytes of a program or library that is looked at."""
X86_64 = 62
_NATIVE = (
    "/lib/x86_64-linux-gnu",
    "/usr/lib/x86_64-linux-gnu",
    "/lib64",
    "/usr/lib64",
    "/lib",
    "/usr/lib",
)
_MODULE = re.compile(r"libnss_\w+\.so\.2")


@frozen
class Library:
    """A library of the native root: its name for the loader, and its path in the root without links."""

    name: str
    path: str
    file: ElfFile
    twin: bytes = b""
    """What it is to be in a set, if it names the machine."""


def read_elf_in(root: Path, path: str) -> ElfFile:
    """Read an ELF file of a root. Raises OSError, InputError, and MachineError for what is none."""
    return ElfFile(inroot.read_small(path, LARGEST, "program", root=root), path)


class NativeLibraries:
    """The libraries of a root for x86-64, each of which is read once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._known: dict[str, Library] = {}

    def closure(self, names: Iterable[str]) -> dict[str, Library]:
        """Return the libraries of these names, and those that they need; loaders among them, too.

        Raises MachineError for one that isn't there.
        """
        found: dict[str, Library] = {}
        todo = list(names)
        while todo:
            name = todo.pop()
            if name not in found:
                found[name] = self.get(name)
                todo += found[name].file.needed
        return found

    def get(self, name: str) -> Library:
        """Return the library called `name`. Raises MachineError if there is none."""
        if name not in self._known:
            self._known[name] = self._read(name)
        return self._known[name]

    def _read(self, name: str) -> Library:
        if "/" in name:
            raise MachineError(f"the library {name} is named by its path")
        for directory in _NATIVE:
            place = inroot.resolve(self._root, f"{directory}/{name}")
            path = f"/{place.relative_to(self._root)}"
            try:
                file = read_elf_in(self._root, path)
            except (OSError, InputError, MachineError):
                continue
            if file.machine == X86_64 and file.bits == 64:
                return Library(name=name, path=path, file=file)
        raise MachineError(f"the library {name} isn't in the native image")


def service_modules(root: Path) -> set[str]:
    """Return the names of the modules by which a root's glibc looks up users and hosts."""
    names = {name for place in _directories(root) for name in os.listdir(place)}
    return {name for name in names if _MODULE.fullmatch(name)}


def find_library(root: Path, name: str, machine: tuple[int, int]) -> ElfFile:
    """Return the library of a name for a machine, by its bits and the number of its CPU.

    Raises MachineError if there is none.
    """
    for place in _directories(root):
        with suppress(OSError, InputError, MachineError):
            file = read_elf_in(root, f"/{place.relative_to(root)}/{name}")
            if (file.bits, file.machine) == machine:
                return file
    raise MachineError(f"the library {name} isn't in the image")


def _directories(root: Path) -> Iterator[Path]:
    """Yield the directories of a root that its libraries may be in, links inside of it resolved."""
    for top in ("/lib", "/usr/lib", "/lib64", "/usr/lib64"):
        directory = inroot.resolve(root, top)
        for place in (directory, *sorted(directory.glob("*-linux-*"))):
            if place.is_dir() and not place.is_symlink():
                yield place
