from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.errors import NoRuntime
from polyarch.progress import CancelToken
from polyarch.record import replace
from polyarch.runtime.vm.architecture import ARCHITECTURES, Architecture, machine_architecture
from polyarch.runtime.vm.kernel import Bootable
from polyarch.runtime.vm.machine import Machine, Size, command_line

ARM64 = ARCHITECTURES["arm64"]
SMALL = Size(memory=512, cpus=2)


def bootable(directory: Path) -> Bootable:
    return Bootable(kernel=directory / "kernel", initramfs=directory / "initramfs")


def started(architecture: Architecture, directory: Path, size: Size = SMALL) -> NoRuntime:
    """Start a machine that can't be; return the error."""
    for name in ("kernel", "initramfs"):
        (directory / name).write_bytes(b"nothing")
    with pytest.raises(NoRuntime) as caught:
        Machine(
            architecture,
            bootable(directory),
            size,
            kvm=False,
            place=directory / "place",
            cancel=CancelToken(),
        )
    return caught.value


@pytest.mark.parametrize("kvm", [True, False])
def test_the_command_line_has_what_the_machine_is(tmp_path: Path, kvm: bool) -> None:
    words = command_line(
        ARM64,
        bootable(tmp_path),
        SMALL,
        kvm=kvm,
        share=Path("/a,b"),
        swap=Path("/swap"),
        channels=[7, 8, 9],
    )

    text = " ".join(words)
    assert words[0] == "qemu-system-aarch64"
    assert ("-cpu host -accel kvm" if kvm else "-accel tcg,thread=multi") in text
    assert "-m 512M -smp 2" in text
    assert "local,id=share,path=/a,,b,security_model=passthrough,readonly=on" in text
    assert [f"socket,id=port{each - 6},fd={each}" in text for each in (7, 8, 9)] == [True] * 3


def test_a_qemu_that_is_not_there_is_told_with_its_package(tmp_path: Path) -> None:
    error = started(replace(ARM64, program="qemu-system-none"), tmp_path)

    assert str(error) == "qemu-system-none can't be started: there is no virtual machine for arm64"
    assert error.hint == "install it (Debian, Ubuntu: apt-get install qemu-system-arm)"


@pytest.mark.qemu
def test_what_qemu_says_before_it_ends_is_in_the_error(tmp_path: Path) -> None:
    error = started(ARM64, tmp_path, Size(memory=1 << 23, cpus=1))

    assert str(error).startswith(
        "the virtual machine for arm64 ended; its last words:\nqemu-system-aarch64: "
    )
    assert "POLYARCH_VM_MEMORY" in error.hint


def test_a_machine_that_did_not_start_leaves_nothing_to_swap_to(tmp_path: Path) -> None:
    started(replace(ARM64, program="qemu-system-none"), tmp_path)

    assert [path.name for path in (tmp_path / "place").iterdir()] == ["share"]


@pytest.mark.parametrize(
    ("asked", "found"), [("arm", "arm64"), ("386", "amd64"), ("ppc64le", "ppc64le")]
)
def test_some_machines_run_programs_of_their_kin(asked: str, found: str) -> None:
    assert machine_architecture(asked).name == found


def test_an_architecture_without_a_machine_is_refused() -> None:
    with pytest.raises(NoRuntime) as caught:
        machine_architecture("mips64le")

    assert str(caught.value) == (
        "steps for mips64le can't run in a virtual machine: there are machines for amd64, arm64, riscv64, "
        "ppc64le, 386, arm"
    )
