"""An emulator that always gets an option more: a copy whose first instructions add it to its arguments.

QEMU's user mode takes options from its command line, which the kernel writes when it starts a handler's
interpreter, and from its environment, which is that of its guest: a variable is seen by every program
of a step, and taken by the emulators of other CPUs for theirs. So the copy begins with a few instructions
in a segment of its own, which change what the kernel left on the stack and go to where the program began:

    argc    interpreter              program ...
    argc+2  interpreter  -cpu MODEL  program ...

A `QEMU_CPU` that is in the environment is the image's own, and then nothing is added.

Source: System V ABI, AMD64 supplement, “Initial Stack and Register State”.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import struct
import time
from collections.abc import Iterator
from pathlib import Path

from polyarch.emulation.extended import Extended
from polyarch.emulation.facts import Facts, stamp
from polyarch.emulation.probe import probe_program
from polyarch.emulation.qemu import Emulator
from polyarch.errors import MachineError
from polyarch.paths import replacing
from polyarch.process import base_environment, run
from polyarch.record import replace

__all__ = ["tuned", "with_cpu"]

_DAY = 24 * 3600

# Registers other than rsp and rdx, which holds a function for the end, are free at the beginning.
_CODE = bytes.fromhex(
    "488b0424"  # mov rax, [rsp]           argc
    "488d74c410"  # lea rsi, [rsp+rax*8+16]  the environment
    "48b951454d555f435055"  # movabs rcx, "QEMU_CPU"
    "488b3e"  # 1: mov rdi, [rsi]
    "4883c608"  # add rsi, 8
    "4885ff"  # test rdi, rdi
    "740d"  # jz 2f
    "48390f"  # cmp [rdi], rcx           (behind the last variable is the program's name)
    "75ef"  # jne 1b
    "807f083d"  # cmp byte ptr [rdi+8], '='
    "75e9"  # jne 1b
    "eb22"  # jmp 3f
    "488b4c2408"  # 2: mov rcx, [rsp+8]        argv[0]
    "4883c002"  # add rax, 2
    "488d3517000000"  # lea rsi, [rip+option]
    "488d3d15000000"  # lea rdi, [rip+value]
    "48893424"  # mov [rsp], rsi
    "48897c2408"  # mov [rsp+8], rdi
    "51"  # push rcx
    "50"  # push rax
    "e9"  # 3: jmp rel32; the distance, option and value follow
)


def with_cpu(program: bytes, model: str) -> bytes:
    """Return a static x86-64 QEMU that runs as with `-cpu MODEL` unless its environment has QEMU_CPU.

    Raises MachineError for a program that can't be changed so.
    """
    extended = Extended(program)
    extended.entry = extended.add(_code(extended.entry - extended.next_address, model))
    return extended.finish()


def _code(distance: int, model: str) -> bytes:
    """Return the instructions; `distance` is from their beginning to the program's."""
    jump = struct.pack("<i", distance - len(_CODE) - 4)
    return _CODE + jump + b"-cpu\0" + model.encode() + b"\0"


def tuned(emulator: Emulator, facts: Facts) -> Emulator:
    """Return the emulator with the CPU that it should have; as it is if that can't be.

    The copy lies in the directory of the facts, is made once, and must have run a program.
    """
    if not emulator.cpu or facts.directory is None or os.uname().machine != "x86_64":
        return emulator
    directory = facts.directory / "emulators"

    def make() -> str:
        with contextlib.suppress(OSError, MachineError):
            return _made(emulator, directory)
        return ""

    key = f"tuned {emulator.cpu} {stamp(emulator.path)}"
    path = facts.get(key, make, keep=bool)
    if path and not os.access(path, os.X_OK):
        path = make()
    return replace(emulator, path=path) if path else emulator


def _made(emulator: Emulator, directory: Path) -> str:
    """Make the copy. Raises OSError, MachineError."""
    program = with_cpu(Path(emulator.path).read_bytes(), emulator.cpu)
    # The name stays: errors of QEMU begin with it.
    place = directory / hashlib.sha256(program).hexdigest()[:16]
    place.mkdir(mode=0o755, parents=True, exist_ok=True)
    path = place / os.path.basename(emulator.path)
    with _alone(place):
        if not _is_program(path, program):
            with replacing(path) as aside:
                aside.write_bytes(program)
                # A process that may not read its interpreter isn't the owner of its /proc/self.
                aside.chmod(0o755)
    _check(str(path), emulator.handler.architecture)
    for other in set(directory.iterdir()) - {place}:
        # Those of emulators that were replaced since; one that was made just now is another build's.
        if other.stat().st_mtime < time.time() - _DAY:
            import shutil  # noqa: PLC0415 seldom needed, and it loads bz2 and lzma: 2 ms

            shutil.rmtree(other, ignore_errors=True)
    return str(path)


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Let one build at a time make a copy, so that none is replaced while another build registers it."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _is_program(path: Path, program: bytes) -> bool:
    try:
        return os.access(path, os.X_OK) and path.read_bytes() == program
    except OSError:
        return False


def _check(path: str, architecture: str) -> None:
    """Run a program. Raises MachineError if it doesn't work."""
    fd = os.memfd_create(f"probe-{architecture}", 0)
    try:
        os.write(fd, probe_program(architecture))
        argv = [path, f"/proc/self/fd/{fd}"]
        ended = run(argv, env=base_environment(), timeout=10, pass_fds=(fd,))
    finally:
        os.close(fd)
    if ended.status != 65:
        raise MachineError(f"{path} doesn't work: {ended}")
