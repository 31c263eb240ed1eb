"""By what else a step can be emulated, after its emulator has crashed or hung: other CPUs, other versions.

A crash of QEMU mostly comes from an instruction or a feature that it gets wrong. A CPU that lacks the feature
keeps programs from using it; another version may have it right.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping

from polyarch.emulation.facts import Facts
from polyarch.emulation.qemu import Emulator, find_emulators
from polyarch.emulation.tuned import tuned
from polyarch.record import replace

__all__ = ["MOST_RUNGS", "find_rung", "rung_name", "rungs"]

MOST_RUNGS = 4
"""How often a step is tried in other ways: each may take as long as it took to crash."""

_MODELS: Mapping[str, tuple[str, ...]] = {
    "arm64": ("cortex-a72", "max", "cortex-a53"),
    "arm": ("cortex-a15", "max", "cortex-a7"),
    "amd64": ("max", "qemu64", "Nehalem"),
    "386": ("max", "qemu32", "n270"),
    "ppc64le": ("power9", "power8"),
    "s390x": ("max", "z14", "z13"),
    "riscv64": ("max", "rv64"),
    "mips64le": ("Loongson-3A4000", "MIPS64R2-generic"),
    "mips64": ("MIPS64R2-generic", "5Kf"),
    "loong64": ("la464",),
}
"""CPUs that differ from the default one, and from one another, in what they can do; the likeliest to help first."""
_MODELS_TRIED = 2


def rungs(
    emulator: Emulator, facts: Facts, environ: Mapping[str, str] = os.environ
) -> Iterator[Emulator]:
    """Give what else could emulate, ready to be registered: two other CPUs, then other versions."""
    found = 0
    for model in _MODELS.get(emulator.handler.architecture, ()):
        variant = find_rung(rung_name(replace(emulator, model=model)), emulator, facts, environ)
        if model != emulator.cpu and variant is not None and found < _MODELS_TRIED:
            found += 1
            yield variant
    others = find_emulators(emulator.handler.architecture, facts, environ, every=True)
    for other in others:
        if (other.version, other.path) != (emulator.version, emulator.path):
            yield other


def rung_name(emulator: Emulator) -> str:
    """Return the text by which `find_rung` finds an emulator with its CPU again."""
    return f"{emulator.path} {emulator.model or ''}"


def find_rung(
    name: str, emulator: Emulator, facts: Facts, environ: Mapping[str, str] = os.environ
) -> Emulator | None:
    """Return what a name stands for, None if it isn't there any more or doesn't work.

    `emulator` is the usual one for the architecture. What has a CPU of its own is a copy that was found to work.
    """
    path, _, model = name.rpartition(" ")
    known = find_emulators(emulator.handler.architecture, facts, environ, every=True)
    found = next((each for each in known if each.path == path), None)
    if found is None or not model:
        return found
    wanted = replace(found, model=model)
    return wanted if tuned(wanted, facts).path != wanted.path else None
