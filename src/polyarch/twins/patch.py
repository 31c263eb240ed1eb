"""Native files -> native twins: programs, loaders and libraries, changed so that a foreign step can use them.

Nothing of the native files is lost: each gets a segment more, and a few bytes are others. A loader, and a
static program, gets the code that makes it start as the foreign program would (`patch_entry`); what calls uname tells
the foreign machine (`patch_uname`); what calls chroot leaves a mark (`patch_chroot`); programs name the foreign machine
where they named theirs (`patch_texts`), and end where they can't do as the foreign one would (`patch_refusals`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from polyarch.emulation.extended import PT_INTERP, Extended
from polyarch.errors import MachineError
from polyarch.record import frozen
from polyarch.twins.elffile import ElfFile
from polyarch.twins.patch_calls import clear_before, load_below, round_numbers
from polyarch.twins.patch_chroot import mark_chroot
from polyarch.twins.patch_entry import Known, begin_loader, begin_program
from polyarch.twins.patch_python import limit_module, limit_python
from polyarch.twins.patch_refusals import add_refusal, refuse_imports
from polyarch.twins.patch_texts import (
    replace_built,
    replace_path,
    replace_texts,
    without_run_path,
)
from polyarch.twins.patch_uname import answer_uname

__all__ = [
    "Changes",
    "LibraryNames",
    "Surroundings",
    "patch_libc",
    "patch_library",
    "patch_loader",
    "patch_module",
    "patch_naming_library",
    "patch_program",
]

GLIBC_CACHE = b"/etc/ld.so.cache"


@frozen
class Surroundings:
    """What twins find in a step: the paths of their loader, its cache, the emulator and the mark, and the machine's name."""

    loader: str
    cache: str
    emulator: str
    given_up: str
    machine: str


@frozen
class Changes:
    """What is other in one twin than in all: its texts, and the directory of modules that it loads, if it does."""

    texts: Mapping[bytes, bytes]
    modules: str = ""
    are_counted: bool = False
    """Whether the program has the lengths of these texts, too."""
    asks_machine: bool = True
    """Whether the program asks the system for the name of the machine."""
    has_doubles: bool = False
    """Whether `long double` is no more than `double` on the foreign machine."""
    is_python: bool = False
    refused: Sequence[str] = ()
    """Functions of libm that round otherwise on the foreign machine."""


@frozen
class LibraryNames:
    """What a library says of the machine: whole texts, and what Debian calls it, natively and foreign.

    If the latter isn't a text of its own, instructions build it.
    """

    texts: Mapping[bytes, bytes]
    debian: tuple[bytes, bytes]
    cleared: str = ""
    """The function that is to find cleared what it fills: see `clear_before`."""


def patch_program(
    program: ElfFile, known: Sequence[Known], around: Surroundings, changes: Changes
) -> bytes:
    """Return the twin of the foreign programs that are `known`.

    Raises MachineError for a program that can't be changed.
    """
    extended = Extended(program.data)
    refusal = add_refusal(extended, around.given_up)
    refuse_imports(extended, program, changes.refused, refusal)
    if changes.modules:
        load_below(extended, program, changes.modules, refusal)
    if changes.is_python:
        limit_python(extended, program, refusal)
    if changes.has_doubles:
        round_numbers(extended, program)
    replace_texts(extended, changes.texts, are_counted=changes.are_counted)
    loaders = extended.segments(PT_INTERP)
    if loaders:
        _, _, offset, _, _, size, *_ = loaders[0]
        if len(around.loader) >= size:
            raise MachineError(f"there is no room for {around.loader} in the program")
        extended.write(offset, around.loader.encode().ljust(size, b"\0"))
        without_run_path(extended)
        begin_program(extended, known)
    else:
        if answer_uname(extended, around.machine) == 0 and changes.asks_machine:
            raise MachineError("the program has no call of uname that is known")
        mark_chroot(extended, around.given_up)
        begin_program(extended, known, emulator=around.emulator)
    return extended.finish()


def patch_loader(loader: bytes, around: Surroundings) -> bytes:
    """Return glibc's loader, or musl's, which is the libc as well. Raises as `patch_program`."""
    extended = Extended(loader)
    if GLIBC_CACHE in loader:
        replace_path(extended, GLIBC_CACHE, around.cache.encode())
        answer_uname(extended, around.machine)
    elif answer_uname(extended, around.machine) == 0:
        raise MachineError("the loader has no call of uname that is known")
    else:
        mark_chroot(extended, around.given_up)
    begin_loader(extended, around.emulator)
    return extended.finish()


def patch_libc(library: bytes, around: Surroundings) -> bytes:
    """Return glibc's libc. Raises as `patch_program`, and if it has no call of uname that is known."""
    extended = Extended(library)
    if answer_uname(extended, around.machine) == 0:
        raise MachineError("libc has no call of uname that is known")
    if mark_chroot(extended, around.given_up) == 0:
        raise MachineError("libc has no call of chroot that is known")
    return extended.finish()


def patch_library(library: bytes) -> bytes:
    """Return another library. Raises MachineError for what is none."""
    extended = Extended(library)
    without_run_path(extended)
    return extended.data


def patch_module(module: ElfFile, around: Surroundings, refused: Sequence[str]) -> bytes:
    """Return what a program loads by itself, which may not call the functions `refused`. Raises as `patch_program`."""
    extended = Extended(module.data)
    without_run_path(extended)
    refusal = add_refusal(extended, around.given_up)
    refuse_imports(extended, module, refused, refusal)
    limit_module(extended, module, refusal)
    return extended.finish()


def patch_naming_library(library: ElfFile, names: LibraryNames) -> bytes:
    """Return a library that names the machine. Raises MachineError if its names can't be exchanged."""
    extended = Extended(library.data)
    without_run_path(extended)
    replace_texts(extended, names.texts)
    native, foreign = names.debian
    if native not in names.texts and replace_built(extended, native, foreign) != 1:
        raise MachineError(f"the library has {native.decode()} not where it is known to")
    if names.cleared:
        clear_before(extended, library, names.cleared)
    return extended.finish()
