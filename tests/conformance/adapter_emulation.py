"""elf_binfmt: handlers and emulators by architecture."""

from __future__ import annotations

from polyarch.emulation import qemu
from polyarch.emulation.binfmt import get_handler
from tests.support.machine.handlers import architectures_of


def elf_binfmt(architecture: str) -> dict[str, str]:
    handler = get_handler(architecture)
    return {
        "entry": handler.entry,
        "magic": handler.magic.hex(),
        "mask": handler.mask.hex(),
    }


def elf_architectures(header: str) -> tuple[str, ...]:
    return architectures_of(bytes.fromhex(header))


def emulator_name(architecture: str) -> str:
    return qemu.emulator_name(architecture)
