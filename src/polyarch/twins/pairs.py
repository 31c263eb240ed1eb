"""Two roots of one base image -> the programs that have a native twin: vetted, alike, and of one version.

Roots are read inside of them only, whatever their links say.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path

from polyarch import inroot
from polyarch.emulation.binfmt import get_handler
from polyarch.errors import InputError, MachineError
from polyarch.platforms import Platform
from polyarch.record import field, frozen, replace
from polyarch.twins.elffile import ElfFile
from polyarch.twins.gotools import GoTool, check_toolchain, find_tools
from polyarch.twins.libraries import (
    X86_64,
    Library,
    NativeLibraries,
    find_library,
    read_elf_in,
)
from polyarch.twins.modules import find_modules, loads_modules, modules_of_debconf
from polyarch.twins.packages import Packages, read_packages
from polyarch.twins.patch import LibraryNames, patch_naming_library
from polyarch.twins.patch_python import check_built_alike
from polyarch.twins.rings import (
    DIRECTORIES,
    fills_header,
    is_python,
    may_grow,
    names_machine,
    ring_of,
)
from polyarch.twins.scripts import find_scripts, runs_some_scripts
from polyarch.twins.texts import foreign_texts

__all__ = ["NoPackage", "Pair", "Roots", "find_pairs"]


class NoPackage(MachineError):
    """A file belongs to no package, so its version isn't known by that."""


@frozen
class Roots:
    """A foreign root and the native one of the same base image, with their packages."""

    foreign: Path
    native: Path
    platform: Platform
    foreign_packages: Packages
    native_packages: Packages

    @staticmethod
    def of(foreign: Path, native: Path, platform: Platform) -> Roots:
        """Read what packages two roots have. Raises OSError, InputError."""
        return Roots(
            foreign=foreign,
            native=native,
            platform=platform,
            foreign_packages=read_packages(foreign),
            native_packages=read_packages(native),
        )

    def check_version(self, path: str, there: str = "") -> None:
        """Check that a file of the native root is of the version that the foreign root has.

        With `there`, the foreign root must have that file of the same package. Raises MachineError.
        """
        if not self.native_packages.kind:
            return  # roots of one index, so of one build
        ours = self.native_packages.find(path)
        if ours is None:
            raise NoPackage(f"{path} belongs to no package")
        version = self.foreign_packages.versions.get(ours.name)
        if version != ours.version:
            raise MachineError(
                f"{ours.name} is {ours.version} in the native image, and {version or 'not there'}"
            )
        if there and self.foreign_packages.find(there) != ours:
            raise MachineError(f"{there} isn't that of {ours.name}")


@frozen
class Pair:
    """A foreign program and the native one that may run in its place; `path` is that of both."""

    path: str
    ring: str
    foreign: ElfFile
    native: ElfFile
    texts: dict[bytes, bytes]
    """What the native program has to say in the place of what it says."""
    libraries: dict[str, Library]
    modules: dict[str, ElfFile]
    """What the program loads by itself: native files by the paths of the foreign ones."""
    scripts: Mapping[str, int] = field(default_factory=dict)
    """The only scripts that the native program may run, if there are such, with their sizes."""
    unless: tuple[str, ...] = ()
    """Files that it would load, and of which no native one is there; not beside `scripts`."""
    tool: GoTool | None = None
    """What it is of Go's toolchain."""


def find_pairs(roots: Roots) -> tuple[list[Pair], dict[str, str]]:
    """Return the pairs of two roots, in the order of their paths, and why vetted programs have no twin."""
    libraries = NativeLibraries(roots.native)
    found, refused = [], {}
    makers: list[tuple[str, Callable[[], Pair | None]]] = [
        *((path, partial(_pair, roots, path, libraries)) for path in _programs(roots.foreign)),
        *(
            (tool.path, partial(_tool_pair, roots, tool, libraries))
            for tool in find_tools(roots.foreign, roots.platform)
        ),
    ]
    for path, make in makers:
        try:
            pair = make()
        except (MachineError, InputError, OSError) as error:
            refused[path] = str(error)
        else:
            if pair is not None:
                found.append(pair)
    return found, refused


def _programs(root: Path) -> Iterator[str]:
    """Give the paths of all regular files in the directories for programs, each once."""
    seen = set()
    for directory in DIRECTORIES:
        place = inroot.resolve(root, directory)
        path = f"/{place.relative_to(root)}"
        if path in seen or not place.is_dir():
            continue
        seen.add(path)
        for entry in sorted(os.scandir(place), key=lambda each: each.name):
            if entry.is_file(follow_symlinks=False):
                yield f"{path}/{entry.name}"


def _pair(roots: Roots, path: str, libraries: NativeLibraries) -> Pair | None:
    """Return the pair at a path; None if it isn't vetted. Raises MachineError, InputError, OSError."""
    bits, _ = _header_machine(roots.platform)
    ring = ring_of(path, architecture=roots.platform.architecture, bits=bits)
    if not ring:
        return None
    foreign, native = _read_both(roots, path, path)
    roots.check_version(path, path)
    texts = _texts(roots, path, native, foreign)
    if is_python(path):
        check_built_alike(native, foreign)
    modules = _modules(roots, path, libraries)
    names = [*native.needed, *(name for each in modules.values() for name in each.needed)]
    needed = _with_names(roots, libraries.closure(names))
    for library in needed.values():
        roots.check_version(library.path)
    runs_scripts = runs_some_scripts(path)
    return Pair(
        path=path,
        scripts=_scripts(roots) if bits == 32 and runs_scripts else {},
        unless=_lacking(foreign, modules) if bits == 64 and runs_scripts else (),
        ring=ring,
        foreign=foreign,
        native=native,
        texts=texts,
        libraries=needed,
        modules=modules,
    )


def _texts(roots: Roots, path: str, native: ElfFile, foreign: ElfFile) -> dict[bytes, bytes]:
    """Return what a native program says of the machine, with what it is to say. Raises MachineError."""
    texts = foreign_texts(native, foreign, roots.platform)
    if any(len(old) != len(new) for old, new in texts.items()) and not may_grow(path):
        raise MachineError("what it says of the machine is of another length")
    return texts


def _scripts(roots: Roots) -> dict[str, int]:
    """Return the image's scripts that a native perl runs alike. Raises MachineError if there are none."""
    scripts = find_scripts(roots.foreign)
    if not scripts:
        raise MachineError("the image has no script that it is known to run alike")
    return scripts


def _lacking(foreign: ElfFile, modules: Mapping[str, ElfFile]) -> tuple[str, ...]:
    """Return what a foreign perl may be about to load without a native one."""
    return tuple(each for each in modules_of_debconf(foreign) if each not in modules)


def _modules(roots: Roots, path: str, libraries: NativeLibraries) -> dict[str, ElfFile]:
    """Return what the program at a path loads by itself. Raises MachineError, InputError, OSError."""
    if not loads_modules(path):
        return {}
    modules = find_modules(path, roots.foreign, roots.native)
    for name, module in list(modules.items()):
        roots.check_version(module.name)
        try:
            libraries.closure(module.needed)
        except MachineError:
            if not is_python(path):
                raise
            del modules[name]  # images leave out what they need for one or the other
    return modules


def _with_names(roots: Roots, libraries: dict[str, Library]) -> dict[str, Library]:
    """Let libraries that name the machine name the foreign one. Raises MachineError, InputError, OSError."""
    return {
        name: replace(each, twin=_naming(roots, each)) if names_machine(name) else each
        for name, each in libraries.items()
    }


def _naming(roots: Roots, library: Library) -> bytes:
    package = roots.native_packages.find(library.path)
    name = package.name if package else ""
    natively = roots.native_packages.architectures.get(name, "")
    foreign = roots.foreign_packages.architectures.get(name, "")
    if not (natively and foreign):
        raise MachineError(f"it isn't known for which architecture {library.name} is")
    there = find_library(roots.foreign, library.name, _header_machine(roots.platform))
    texts = foreign_texts(library.file, there, roots.platform)
    names = LibraryNames(
        texts=texts,
        debian=(natively.encode(), foreign.encode()),
        cleared=fills_header(library.name),
    )
    return patch_naming_library(library.file, names)


def _tool_pair(roots: Roots, tool: GoTool, libraries: NativeLibraries) -> Pair:
    """Return the pair of a tool of Go's. Raises MachineError, InputError, OSError."""
    version = check_toolchain(roots.foreign, roots.native, tool.toolchain)
    foreign, native = _read_both(roots, tool.path, tool.native)
    with suppress(NoPackage):  # toolchains are mostly unpacked as Go's makers pack them
        roots.check_version(tool.native, tool.path)
    if version not in native.data or version not in foreign.data:
        raise MachineError(f"it isn't of {version.decode()}, as the toolchain says")
    needed = libraries.closure(native.needed)
    for library in needed.values():
        roots.check_version(library.path)
    return Pair(
        path=tool.path,
        ring="c",
        foreign=foreign,
        native=native,
        texts={},  # all are of machines to work for
        libraries=needed,
        modules={},
        tool=tool,
    )


def _read_both(roots: Roots, path: str, there: str) -> tuple[ElfFile, ElfFile]:
    """Read a program of the foreign root, and the one at `there` of the native root.

    Raises MachineError if one can't stand for the other, InputError, OSError.
    """
    mode = inroot.resolve(roots.foreign, path).stat().st_mode
    if mode & (stat.S_ISUID | stat.S_ISGID) or mode & 0o555 != 0o555:
        raise MachineError("it has special rights")
    foreign = read_elf_in(roots.foreign, path)
    if _header_machine(roots.platform) != (foreign.bits, foreign.machine):
        raise MachineError(f"it is no program for {roots.platform}")
    native = read_elf_in(roots.native, there)
    if (native.bits, native.machine) != (64, X86_64):
        raise MachineError("the native image has no program for x86-64 there")
    if bool(native.interpreter) != bool(foreign.interpreter):
        raise MachineError("one of the two is static")
    return foreign, native


def _header_machine(platform: Platform) -> tuple[int, int]:
    magic = get_handler(platform.architecture).magic
    return 32 * magic[4], int.from_bytes(magic[18:20], "little" if magic[5] == 1 else "big")
