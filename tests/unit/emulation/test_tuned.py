"""Emulators with an option of their own."""

from __future__ import annotations

import os
import struct
import subprocess
from pathlib import Path

import pytest

from polyarch.emulation.binfmt import get_handler
from polyarch.emulation.elf import build_elf, read_elf_file
from polyarch.emulation.facts import Facts
from polyarch.emulation.qemu import Emulator, find_emulator
from polyarch.emulation.tuned import tuned, with_cpu
from polyarch.errors import MachineError
from tests.support.machine.emulators import fake_program

IMPDEF, QARMA = 1, 0


@pytest.fixture
def qemu() -> Emulator:
    found = find_emulator("arm64", Facts(None))
    assert found is not None
    return found


def run_program(qemu: Emulator, code: str, directory: Path, **environ: str) -> int:
    """Run a few instructions of arm64; return the exit status."""
    path = directory / "program"
    path.write_bytes(
        build_elf(bytes.fromhex(code), bits=64, little_endian=True, machine=183, flags=0)
    )
    path.chmod(0o755)
    return subprocess.run([qemu.path, path, "argument"], env=environ, check=False).returncode


# mrs x0, id_aa64isar1_el1; ubfx x0, x0, #8, #4; exit: whether pointer authentication is the cheap one
AUTHENTICATION = "200638d5 002c48d3 a80b80d2 010000d4"
# ldr x0, [sp]; exit: the number of arguments
ARGUMENTS = "e00340f9 a80b80d2 010000d4"
# ldr x1, [sp, #32]; cmp x1, #0; cset x0, ne; exit: whether there is an environment, behind two arguments
ENVIRONMENT = "e11340f9 3f0000f1 e0079f9a a80b80d2 010000d4"


def test_the_cpu_is_another_one_and_the_guest_sees_nothing_of_it(
    tmp_path: Path, qemu: Emulator
) -> None:
    better = tuned(qemu, Facts(tmp_path))

    assert [run_program(each, AUTHENTICATION, tmp_path) for each in (qemu, better)] == [
        QARMA,
        IMPDEF,
    ]
    assert [run_program(each, ARGUMENTS, tmp_path) for each in (qemu, better)] == [2, 2]
    assert [run_program(each, ENVIRONMENT, tmp_path) for each in (qemu, better)] == [0, 0]


@pytest.mark.parametrize("name", ["QEMU_CPU", "QEMU_CPUS", "XQEMU_CPU", "Q"])
def test_a_cpu_that_the_user_chose_stays(tmp_path: Path, qemu: Emulator, name: str) -> None:
    better = tuned(qemu, Facts(tmp_path))
    environ = {"A": "", name: "max", "Z": "1"}

    found = run_program(better, AUTHENTICATION, tmp_path, **environ)

    assert found == (QARMA if name == "QEMU_CPU" else IMPDEF)
    assert run_program(better, ENVIRONMENT, tmp_path, **environ) == 1


def test_the_copy_is_made_once_and_old_ones_go(tmp_path: Path, qemu: Emulator) -> None:
    old, fresh = tmp_path / "emulators/old", tmp_path / "emulators/fresh"
    for directory in (old, fresh):
        directory.mkdir(parents=True)
    os.utime(old, (0, 0))

    first = tuned(qemu, Facts(tmp_path))
    made = os.stat(first.path)
    again = tuned(qemu, Facts(tmp_path))

    assert (again, os.stat(again.path)) == (first, made)
    assert os.path.basename(first.path) == os.path.basename(qemu.path)
    assert (old.exists(), fresh.exists()) == (False, True)
    Path(first.path).unlink()
    assert Path(tuned(qemu, Facts(tmp_path)).path).exists()


def test_what_does_not_work_is_left_alone(tmp_path: Path, qemu: Emulator) -> None:
    path = tmp_path / "qemu-aarch64"
    path.write_bytes(fake_program(b"I am no emulator"))
    path.chmod(0o755)
    handler = get_handler("arm64")
    fake = Emulator(handler=handler, path=str(path), version=(7, 2))
    new = Emulator(handler=handler, path=qemu.path, version=(10, 0))

    for emulator, facts in ((fake, Facts(tmp_path)), (new, Facts(tmp_path)), (qemu, Facts(None))):
        assert tuned(emulator, facts) is emulator


@pytest.mark.parametrize("program", [b"", b"#!/bin/sh\n", fake_program(b"", architecture="arm64")])
def test_what_cannot_be_changed(program: bytes) -> None:
    with pytest.raises(MachineError):
        with_cpu(program, "max")


def test_the_copy_is_a_sound_program(tmp_path: Path, qemu: Emulator) -> None:
    path = tmp_path / "copy"
    path.write_bytes(with_cpu(Path(qemu.path).read_bytes(), "max"))

    assert read_elf_file(str(path)) == read_elf_file(qemu.path)
    shown = subprocess.run(["readelf", "-lW", path], check=True, capture_output=True, text=True)
    loads = [line.split() for line in shown.stdout.splitlines() if line.startswith("  LOAD")]
    addresses = [int(words[2], 16) for words in loads]
    assert addresses == sorted(addresses)
    assert struct.unpack_from("<Q", path.read_bytes(), 24)[0] == addresses[-1]


def test_a_copy_that_another_build_may_be_registering_is_not_replaced(
    tmp_path: Path, qemu: Emulator
) -> None:
    """A mount on a file that is being replaced fails: builds that begin at once all make the copy."""
    path = Path(tuned(qemu, Facts(tmp_path)).path)
    number, program = path.stat().st_ino, path.read_bytes()

    (tmp_path / "facts.json").unlink()
    assert tuned(qemu, Facts(tmp_path)).path == str(path)
    assert path.stat().st_ino == number

    (tmp_path / "facts.json").unlink()
    path.write_bytes(b"damaged")
    assert tuned(qemu, Facts(tmp_path)).path == str(path)
    assert path.read_bytes() == program
