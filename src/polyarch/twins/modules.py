"""What programs load by themselves: modules in machine code of perl and Python, native ones for the foreign ones.

Of perl's, both roots must have the same. Of Python's, those of its standard library are taken that were looked at
one by one; what isn't here ends the twin, and the step is emulated. Left out are those that calculate
in C (audioop, _sqlite3, which prints numbers by way of `long double`), keep data as the machine has it (_dbm), or are for tests.

Source: the directories of Debian's perl, “Perl packaging” in the Debian Perl Policy; of Debian's Python, PEP 3149.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from polyarch import inroot
from polyarch.errors import MachineError
from polyarch.twins.elffile import ElfFile
from polyarch.twins.libraries import read_elf_in
from polyarch.twins.rings import is_python

__all__ = ["find_modules", "loads_modules", "modules_of_debconf"]

_NATIVE = "x86_64-linux-gnu"
_TOP = "/usr/lib"
_DIRECTORY = re.compile(r"[a-z0-9_]+-linux-[a-z]+")
_OF_DEBCONF = ("Locale/gettext/gettext.so", "Text/CharWidth/CharWidth.so")
"""What debconf loads wherever it is installed, and goes without elsewhere."""
_ADDED = re.compile(rb"(?<=\0)/usr/lib/[a-z0-9_]+-linux-[a-z]+/perl5/[0-9.]+(?=\0)")
"""Where Debian's perl looks for modules of packages of their own."""
_OF_PERL = re.compile(r"perl(-base|5)?")
_OF_PYTHON = frozenset(
    [
        "_asyncio",
        "_bisect",
        "_blake2",
        "_bz2",
        "_codecs_cn",
        "_codecs_hk",
        "_codecs_iso2022",
        "_codecs_jp",
        "_codecs_kr",
        "_codecs_tw",
        "_contextvars",
        "_crypt",
        "_csv",
        "_ctypes",
        "_curses",
        "_curses_panel",
        "_datetime",
        "_decimal",
        "_elementtree",
        "_hashlib",
        "_heapq",
        "_interpchannels",
        "_interpqueues",
        "_interpreters",
        "_json",
        "_lsprof",
        "_lzma",
        "_md5",
        "_multibytecodec",
        "_multiprocessing",
        "_opcode",
        "_pickle",
        "_posixshmem",
        "_posixsubprocess",
        "_queue",
        "_random",
        "_sha1",
        "_sha2",
        "_sha256",
        "_sha3",
        "_sha512",
        "_socket",
        "_ssl",
        "_struct",
        "_typing",
        "_uuid",
        "_xxsubinterpreters",
        "_zoneinfo",
        "array",
        "binascii",
        "fcntl",
        "grp",
        "mmap",
        "pyexpat",
        "readline",
        "resource",
        "select",
        "spwd",
        "syslog",
        "termios",
        "unicodedata",
        "zlib",
    ]
)
_MODULE = re.compile(r"(\w+)(\.cpython-[0-9]+-)[a-z0-9_]+-linux-[a-z]+\.so")


def loads_modules(path: str) -> bool:
    """Tell whether the program at a path loads modules."""
    return os.path.basename(path) == "perl" or is_python(path)


def find_modules(path: str, foreign: Path, native: Path) -> dict[str, ElfFile]:
    """Return the native modules of the program at a path by the paths of the foreign ones.

    Raises MachineError if the native root lacks one that it must have, OSError, InputError.
    """
    if is_python(path):
        return _find_pythons(f"{_TOP}/{os.path.basename(path)}/lib-dynload", foreign, native)
    found = {}
    for module in _modules(foreign):
        there = re.sub(rf"^{_TOP}/[^/]+", f"{_TOP}/{_NATIVE}", module)
        try:
            found[module] = read_elf_in(native, there)
        except FileNotFoundError as error:
            raise MachineError(f"the native image has no {there}") from error
    return found


def _find_pythons(directory: str, foreign: Path, native: Path) -> dict[str, ElfFile]:
    place = inroot.resolve(foreign, directory)
    found = {}
    for name in sorted(os.listdir(place)) if place.is_dir() else ():
        kind = _MODULE.fullmatch(name)
        if kind is None or kind[1] not in _OF_PYTHON or (place / name).is_symlink():
            continue
        with suppress(FileNotFoundError):
            there = f"{directory}/{kind[1]}{kind[2]}{_NATIVE}.so"
            found[f"{directory}/{name}"] = read_elf_in(native, there)
    return found


def _modules(root: Path) -> Iterator[str]:
    """Give the paths of perl's modules in a root, links not followed."""
    top = inroot.resolve(root, _TOP)
    for name in sorted(os.listdir(top)):
        if not _DIRECTORY.fullmatch(name) or (top / name).is_symlink():
            continue
        for kind in sorted(os.listdir(top / name)):
            if not _OF_PERL.fullmatch(kind) or (top / name / kind).is_symlink():
                continue
            for place, _, files in os.walk(top / name / kind):
                for file in sorted(files):
                    path = Path(place, file)
                    if file.endswith(".so") and path.is_file() and not path.is_symlink():
                        yield f"/{path.relative_to(root)}"


def modules_of_debconf(program: ElfFile) -> tuple[str, ...]:
    """Return where a foreign perl would find the modules that debconf uses if they are there.

    A step that installs one of them, as `ucf` does, goes on to run debconf for packages behind that.
    """
    found = _ADDED.search(program.data)
    directory = found[0].decode() if found else ""
    return tuple(f"{directory}/auto/{each}" for each in _OF_DEBCONF) if directory else ()
