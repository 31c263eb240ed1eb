"""What programs load by themselves: perl's modules in machine code, of which both roots must have the same.

Source: the directories of Debian's perl, “Perl packaging” in the Debian Perl Policy.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

from polyarch import inroot
from polyarch.errors import MachineError
from polyarch.twins.elffile import ElfFile
from polyarch.twins.libraries import read_elf_in

__all__ = ["find_modules", "loads_modules"]

_NATIVE = "x86_64-linux-gnu"
_TOP = "/usr/lib"
_DIRECTORY = re.compile(r"[a-z0-9_]+-linux-[a-z]+")
_OF_PERL = re.compile(r"perl(-base|5)?")


def loads_modules(path: str) -> bool:
    """Tell whether the program at a path loads modules."""
    return os.path.basename(path) == "perl"


def find_modules(foreign: Path, native: Path) -> dict[str, ElfFile]:
    """Return the native modules of perl by the paths of the foreign ones.

    Raises MachineError if the native root lacks one, OSError, InputError.
    """
    found = {}
    for path in _modules(foreign):
        there = re.sub(rf"^{_TOP}/[^/]+", f"{_TOP}/{_NATIVE}", path)
        try:
            found[path] = read_elf_in(native, there)
        except FileNotFoundError as error:
            raise MachineError(f"the native image has no {there}") from error
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
