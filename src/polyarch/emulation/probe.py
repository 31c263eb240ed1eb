"""Which platforms run here, found out by running something: believe execution, not tables.

For each architecture there is a static program of a few instructions that ends with status 65 (on
amd64: 64 + the level of x86-64 that the CPU has). Whether it runs natively, as a 32-bit sibling, or
through a handler of binfmt_misc makes no difference here. Platforms for which there is an emulator
that could be registered privately are known from `qemu.find_emulator`.

The instructions: load 65, load the number of `exit`, trap; assembled by hand or by `as`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum

from polyarch.emulation.binfmt import HANDLERS, BinfmtMount, Entry, get_handler
from polyarch.emulation.elf import build_elf
from polyarch.emulation.facts import Facts
from polyarch.emulation.private import allows_private
from polyarch.emulation.qemu import find_emulator
from polyarch.errors import InputError
from polyarch.platforms import Platform, linux
from polyarch.process import base_environment, run
from polyarch.record import frozen

__all__ = [
    "Runnable",
    "RunsHow",
    "architecture_of",
    "executed",
    "machine_handler",
    "native_architecture",
    "probe_level",
    "probe_program",
    "runnable",
    "runs_natively",
]

_LEVEL_0 = 64

_X86_LEVEL = """
bf40000000 ffc7 b801000000 31c9 0fa2 89ce 81e101229800 81f901229800 0f8583000000 b801000080 31c9 0fa2
4189c8 f7c101000000 746f ffc7 89f1 81e100104038 81f100104038 f7c100104038 7557 41f7c020000000 744e
31c9 0f01d0 4189c1 83e006 83f806 753e b807000000 31c9 0fa2 4189da 81e328010000 81fb28010000 7524 ffc7
4181e1e6000000 4181f9e6000000 7512 4181e2000003d0 4181fa000003d0 7502 ffc7 b83c000000 0f05
"""

_PROGRAMS: dict[str, tuple[int, bool, int, int, str]] = {
    # word size, little endian, e_machine, e_flags, instructions
    "amd64": (64, True, 62, 0, _X86_LEVEL),
    "386": (32, True, 3, 0, "bb41000000 b801000000 cd80"),
    "arm64": (64, True, 183, 0, "200880d2 a80b80d2 010000d4"),
    "arm": (32, True, 40, 0x05000000, "4100a0e3 0170a0e3 000000ef"),
    "s390x": (64, False, 22, 0, "a7290041 0a01"),
    "ppc64le": (64, True, 21, 2, "01000038 41006038 02000044"),
    "riscv64": (64, True, 243, 0, "13051004 9308d005 73000000"),
    "mips64le": (64, True, 8, 0x80000007, "c2130224 41000424 0c000000"),
    "mips64": (64, False, 8, 0x80000007, "240213c2 24040041 0000000c"),
    "loong64": (64, True, 258, 0x43, "04048103 0b748103 00002b00"),
}

_MACHINES = {
    "x86_64": "amd64",
    "i386": "386",
    "i686": "386",
    "aarch64": "arm64",
    "armv8l": "arm",
    "armv7l": "arm",
    "armv6l": "arm",
    "loongarch64": "loong64",
    "mips64": "mips64",
    "ppc64le": "ppc64le",
    "riscv64": "riscv64",
    "s390x": "s390x",
}

# What CPUs run of 32 bits, if the kernel was built for it.
_SIBLINGS = {"amd64": "386", "arm64": "arm"}


class RunsHow(StrEnum):
    """How programs of a platform run here."""

    NATIVE = "native"
    HANDLER = "handler"
    """The kernel already starts an emulator for them."""
    EMULATOR = "emulator"
    """There is an emulator that can be registered for a build."""


@frozen
class Runnable:
    """A platform whose programs run here."""

    platform: Platform
    how: RunsHow

    @property
    def architecture(self) -> str:
        """The architecture of the platform."""
        return self.platform.architecture


def native_architecture() -> str:
    """Return what this kernel runs, in Go's words (its own word if that is unknown)."""
    machine = os.uname().machine
    return _MACHINES.get(machine, machine)


def probe_program(architecture: str) -> bytes:
    """Return the ELF program that proves `architecture` by ending with status 65 or more."""
    bits, little_endian, machine, flags, code = _PROGRAMS[architecture]
    return build_elf(
        bytes.fromhex(code), bits=bits, little_endian=little_endian, machine=machine, flags=flags
    )


def architecture_of(bits: int, machine: int, *, little: bool) -> str:
    """Return the architecture of an ELF file by its word size, machine and byte order; "" if unknown."""
    wanted = (bits, little, machine)
    return next((name for name, known in _PROGRAMS.items() if known[:3] == wanted), "")


def probe_level(architecture: str) -> int:
    """Run the program of `architecture`: its level (1; on amd64 up to 4), or 0 if it doesn't run."""
    if architecture not in _PROGRAMS:
        return 0
    # Not closed on exec: an emulator opens the program by this very path.
    fd = os.memfd_create(f"probe-{architecture}", 0)
    try:
        os.write(fd, probe_program(architecture))
        # Open for writing would mean "text file busy".
        read_only = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY)
    finally:
        os.close(fd)
    try:
        argv = [f"/proc/self/fd/{read_only}"]
        completed = run(argv, env=base_environment(), timeout=10, pass_fds=(read_only,))
    finally:
        os.close(read_only)
    return max(0, completed.status - _LEVEL_0) if completed.status <= _LEVEL_0 + 4 else 0


def runs_natively(architecture: str, facts: Facts) -> bool:
    """Tell whether this CPU and kernel run programs of an architecture by themselves."""
    native = native_architecture()
    if architecture == native:
        return True
    return architecture == _SIBLINGS.get(native) and _runs_sibling(architecture, facts)


def _runs_sibling(architecture: str, facts: Facts) -> bool:
    return facts.get(f"level {architecture}", lambda: probe_level(architecture)) > 0


def runnable(facts: Facts, environ: Mapping[str, str] = os.environ) -> tuple[Runnable, ...]:
    """Return the platforms whose steps run here: native ones first, best level first, then the others.

    As builds have it: by an emulator that they register for themselves, if the kernel lets them, else
    by a handler of the machine that works in any root. Those are asked for anew each time, as they come
    and go. To be called without threads.
    """
    native = native_architecture()
    found = _native(native, facts)
    outer = BinfmtMount().entries()
    for handler in HANDLERS:
        architecture = handler.architecture
        if any(each.architecture == architecture for each in found):
            continue
        if find_emulator(architecture, facts, environ) is not None and allows_private(facts):
            found += _with_variants(architecture, RunsHow.EMULATOR)
        elif machine_handler(architecture, outer) is not None:
            found += _with_variants(architecture, RunsHow.HANDLER)
    return tuple(found)


def machine_handler(architecture: str, outer: Sequence[Entry]) -> Entry | None:
    """Return the machine's handler that runs programs of an architecture in the root of any step.

    `outer` are the handlers of the machine. One that needs a file of that root is of no use.
    """
    try:
        magic = get_handler(architecture).magic
    except InputError:
        return None
    usable = (entry for entry in outer if entry.works_in_any_root and entry.matches(magic))
    return next(usable, None)


def executed(facts: Facts) -> tuple[Runnable, ...]:
    """Return the platforms whose programs the kernel starts as things are, native ones first.

    What it starts by a handler is asked anew each time: handlers come and go.
    """
    found = _native(native_architecture(), facts)
    native = {each.architecture for each in found}
    for handler in HANDLERS:
        if handler.architecture not in native and probe_level(handler.architecture):
            found += _with_variants(handler.architecture, RunsHow.HANDLER)
    return tuple(found)


def _native(native: str, facts: Facts) -> list[Runnable]:
    """The native architecture with its levels, and its 32-bit sibling if the kernel runs that."""
    level = facts.get(f"level {native}", lambda: probe_level(native))
    variants = ["", *(f"v{number}" for number in range(2, level + 1))]
    if native == "arm":
        variants = ["v7", "v6"] if os.uname().machine != "armv6l" else ["v6"]
    found = _linux(native, variants, RunsHow.NATIVE)
    sibling = _SIBLINGS.get(native, "")
    if sibling and _runs_sibling(sibling, facts):
        found += _with_variants(sibling, RunsHow.NATIVE)
    return found


def _with_variants(architecture: str, how: RunsHow) -> list[Runnable]:
    return _linux(architecture, ("v7", "v6") if architecture == "arm" else ("",), how)


def _linux(architecture: str, variants: Iterable[str], how: RunsHow) -> list[Runnable]:
    return [Runnable(platform=linux(architecture, variant), how=how) for variant in variants]
