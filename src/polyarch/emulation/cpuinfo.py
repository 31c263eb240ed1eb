"""What an emulator shows as /proc/cpuinfo: since QEMU 8.1, that of the CPU that it emulates, for some of them.

Asked is the emulator itself, by a static program of a few instructions that copies the file to its standard output:
openat, sendfile, exit.

Source: open_cpuinfo in linux-user/ARCHITECTURE/target_proc.h of QEMU; the numbers of system calls of each architecture.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from polyarch.emulation.elf import build_elf
from polyarch.errors import MachineError
from polyarch.process import run

__all__ = ["find_shown"]

_PATH = b"/proc/cpuinfo\0"
_ARM64 = """
600c8092 a1010010 020080d2 080780d2 010000d4 e10300aa 200080d2 020080d2 0302a0d2 e80880d2 010000d4
000080d2 a80b80d2 010000d4
"""
_ARM = """
2c008fe2 0010a0e3 0570a0e3 000000ef 0010a0e1 0100a0e3 0020a0e3 0136a0e3 bb70a0e3 000000ef
0000a0e3 0170a0e3 000000ef
"""
_PROGRAMS: dict[str, tuple[int, int, int, str]] = {
    # word size, e_machine, e_flags, instructions, behind which the path lies
    "arm64": (64, 183, 0, _ARM64),
    "arm": (32, 40, 0x05000000, _ARM),
}
_SECONDS = 10


def find_shown(emulator: str, architecture: str) -> bytes | None:
    """Return what programs for `architecture` see there by an emulator; None if that is the machine's own.

    Where nobody knows, it is taken for the machine's own, too.
    """
    if architecture not in _PROGRAMS:
        return None
    bits, machine, flags, code = _PROGRAMS[architecture]
    program = build_elf(
        bytes.fromhex(code) + _PATH, bits=bits, little_endian=True, machine=machine, flags=flags
    )
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "program")
        path.write_bytes(program)
        path.chmod(0o755)
        try:
            # Without the user's environment: steps haven't got that either.
            done = run([emulator, str(path)], env={}, timeout=_SECONDS)
        except MachineError:
            return None
    own = Path("/proc/cpuinfo").read_bytes()
    # Frequencies differ from one moment to the next.
    return done.stdout if done.status == 0 and _keys(done.stdout) != _keys(own) else None


def _keys(text: bytes) -> set[bytes]:
    return {line.partition(b":")[0].strip() for line in text.splitlines() if b":" in line}
