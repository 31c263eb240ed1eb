"""By what else a step can be emulated."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.emulation.facts import Facts
from polyarch.emulation.qemu import Emulator, find_emulator
from polyarch.emulation.rungs import find_rung, rung_name, rungs
from polyarch.record import replace
from tests.support.machine.emulators import fake_qemu

pytestmark = pytest.mark.qemu


@pytest.fixture
def usual() -> Emulator:
    found = find_emulator("arm64", Facts(None), {"PATH": "/usr/bin"})
    assert found is not None
    return found


def test_two_other_cpus_then_other_versions(tmp_path: Path, usual: Emulator) -> None:
    fake_qemu(tmp_path / "bin/qemu-aarch64", "9.1.0")
    environ = {"PATH": f"/usr/bin:{tmp_path / 'bin'}"}

    found = list(rungs(usual, Facts(tmp_path), environ))

    assert [(each.path, each.model) for each in found] == [
        (usual.path, "cortex-a72"),
        (usual.path, "max"),
        (str(tmp_path / "bin/qemu-aarch64"), None),
    ]


def test_a_rung_is_found_by_its_name(tmp_path: Path, usual: Emulator) -> None:
    environ = {"PATH": "/usr/bin"}
    facts = Facts(tmp_path)
    wanted = replace(usual, model="cortex-a72")

    assert find_rung(rung_name(wanted), usual, facts, environ) == wanted
    assert find_rung(rung_name(usual), usual, facts, environ) == usual
    assert find_rung("/gone/qemu-aarch64 cortex-a72", usual, facts, environ) is None


def test_a_cpu_that_does_not_work_is_none(tmp_path: Path, usual: Emulator) -> None:
    wanted = replace(usual, model="no-such-cpu")

    assert find_rung(rung_name(wanted), usual, Facts(tmp_path), {"PATH": "/usr/bin"}) is None
