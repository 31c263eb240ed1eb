"""What emulators show of the CPU; those that do are asked for it in earnest where they are newer than 8.1."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.emulation.cpuinfo import find_shown
from tests.support.machine.emulators import fake_program


def emulator(directory: Path, text: bytes, status: int = 0) -> str:
    path = directory / "qemu"
    path.write_bytes(fake_program(text, status=status))
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("architecture", ["arm64", "arm"])
def test_what_an_emulator_makes_up(tmp_path: Path, architecture: str) -> None:
    text = b"processor\t: 0\nBogoMIPS of it\t: 100.00\n"

    assert find_shown(emulator(tmp_path, text), architecture) == text


def test_the_machines_own_at_another_moment(tmp_path: Path) -> None:
    text = Path("/proc/cpuinfo").read_bytes().partition(b"\n\n")[0].replace(b"0", b"1")

    assert find_shown(emulator(tmp_path, text), "arm64") is None


def test_an_emulator_that_cant_tell(tmp_path: Path) -> None:
    assert find_shown(emulator(tmp_path, b"x: y\n", status=1), "arm64") is None
    assert find_shown(str(tmp_path / "none"), "arm64") is None
    assert find_shown(emulator(tmp_path, b"x: y\n"), "ppc64le") is None


@pytest.mark.qemu
@pytest.mark.parametrize(
    ("program", "architecture"), [("qemu-aarch64-static", "arm64"), ("qemu-arm-static", "arm")]
)
def test_a_real_one_shows_either_its_own_or_the_machines(program: str, architecture: str) -> None:
    shown = find_shown(f"/usr/bin/{program}", architecture)

    assert shown is None or shown.startswith(b"processor\t: 0\nmodel name\t: ARM")
