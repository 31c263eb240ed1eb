from __future__ import annotations

import socket
from collections.abc import Mapping
from pathlib import Path

import pytest

from polyarch.errors import InputError
from polyarch.platforms import linux
from polyarch.progress import CancelToken
from polyarch.record import replace
from polyarch.request.limits import Resources
from polyarch.runtime.base import Ended
from polyarch.runtime.step import Bind, DeviceNode, Mount, Step
from polyarch.runtime.vm.runtime import VirtualMachines


def run(directory: Path, step: Step, environ: Mapping[str, str]) -> Ended:
    """Run a step for arm64 that isn't let into a machine."""
    machines = VirtualMachines(
        place=directory / "kernels", temporary=lambda: directory / "machine", environ=environ
    )
    return machines.runtime(linux("arm64")).run(
        step, directory=directory, on_output=lambda _stream, _data: None, cancel=CancelToken()
    )


def step(directory: Path, *mounts: Mount) -> Step:
    (directory / "rootfs").mkdir()
    return Step(argv=("/bin/true",), rootfs=str(directory / "rootfs"), mounts=mounts)


def test_devices_are_refused(tmp_path: Path) -> None:
    node = DeviceNode(path="/dev/fuse", source="/dev/fuse", kind="c", major=10, minor=229)

    ended = run(tmp_path, replace(step(tmp_path), devices=(node,)), {})

    assert ended == Ended(
        status=1,
        refused="devices can't be had in a virtual machine yet: use --emulation=auto",
    )


def test_limits_are_refused(tmp_path: Path) -> None:
    limited = replace(step(tmp_path), resources=Resources(memory=1 << 20))

    assert run(tmp_path, limited, {}).refused == (
        "limits of a cgroup can't be had in a virtual machine yet: use --emulation=auto"
    )


def test_sockets_are_refused(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "agent"))

        ended = run(tmp_path, step(tmp_path, Bind(source=str(tmp_path / "agent"), target="/a")), {})

    assert ended.refused == (
        "/a: a socket (--mount=type=ssh) can't be mounted in a virtual machine yet: "
        "use --emulation=auto"
    )


@pytest.mark.parametrize("value", ["1G", "511", "-5", "99999999999"])
def test_a_size_that_cannot_be_meant_is_refused(tmp_path: Path, value: str) -> None:
    (tmp_path / "vmlinuz").write_bytes(b"a kernel")
    environ = {
        "POLYARCH_VM_MEMORY": value,
        "POLYARCH_VM_KERNEL": f"arm64={tmp_path / 'vmlinuz'}",
    }

    with pytest.raises(InputError) as caught:
        run(tmp_path, step(tmp_path), environ)

    assert str(caught.value) == f"POLYARCH_VM_MEMORY={value}: a number from 512 on is wanted"
