from __future__ import annotations

import io
import os
from pathlib import Path

import pytest

from polyarch.emulation.binfmt import HANDLERS, BinfmtMount, get_handler
from polyarch.emulation.elf import read_elf
from polyarch.emulation.facts import Facts
from polyarch.emulation.probe import (
    RunsHow,
    machine_handler,
    native_architecture,
    probe_level,
    probe_program,
    runnable,
)
from polyarch.emulation.qemu import find_emulator
from polyarch.platforms import host
from polyarch.process import run
from polyarch.record import replace
from tests.support.machine.emulators import fake_qemu

ARCHITECTURES = [handler.architecture for handler in HANDLERS]


def test_the_native_program_runs() -> None:
    assert native_architecture() == host().architecture
    assert 1 <= probe_level(native_architecture()) <= 4


def test_what_nobody_knows_does_not_run() -> None:
    assert probe_level("vax") == 0


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_probe_programs_are_small_and_static(architecture: str) -> None:
    program = probe_program(architecture)
    header = read_elf(io.BytesIO(program), architecture)

    assert (header.static, header.type) == (True, 2)
    assert len(program) < 512


@pytest.mark.qemu
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_probe_programs_end_with_their_level(tmp_path: Path, architecture: str) -> None:
    program = tmp_path / "program"
    program.write_bytes(probe_program(architecture))
    program.chmod(0o755)
    emulator = find_emulator(architecture, Facts(None))
    assert emulator is not None

    status = run([emulator.path, str(program)]).status

    assert 65 <= status <= (68 if architecture == "amd64" else 65)


def test_native_platforms_come_first_and_each_once(tmp_path: Path) -> None:
    for handler in HANDLERS:
        fake_qemu(tmp_path / f"qemu-{handler.qemu}")

    found = runnable(Facts(None), {"POLYARCH_QEMU_PATH": str(tmp_path)})
    hows = [each.how for each in found]

    assert str(found[0].platform) == f"linux/{native_architecture()}"
    assert hows == sorted(hows, key=[RunsHow.NATIVE, RunsHow.EMULATOR].index)
    assert len({each.platform for each in found}) == len(found)
    assert {each.architecture for each in found} == set(ARCHITECTURES)


def test_arm_is_run_in_two_variants(tmp_path: Path) -> None:
    fake_qemu(tmp_path / "qemu-arm")

    found = runnable(Facts(None), {"POLYARCH_QEMU_PATH": str(tmp_path)})

    assert [str(each.platform) for each in found if each.architecture == "arm"] == [
        "linux/arm/v7",
        "linux/arm/v6",
    ]


def test_levels_of_the_native_architecture_are_facts() -> None:
    facts, native = Facts(None), native_architecture()
    facts.get(f"level {native}", lambda: 3)
    for sibling in ("386", "arm"):
        facts.get(f"level {sibling}", lambda: 0)

    found = [str(each.platform) for each in runnable(facts, {}) if each.how is RunsHow.NATIVE]

    assert found == [f"linux/{native}", f"linux/{native}/v2", f"linux/{native}/v3"]


def test_what_no_build_can_register_does_not_run(tmp_path: Path) -> None:
    """As on a kernel without private handlers."""
    architecture = "s390x"
    fake_qemu(tmp_path / "qemu-s390x")
    facts = Facts(None)
    facts.get(f"private handlers {os.geteuid()}", lambda: False)

    found = runnable(facts, {"POLYARCH_QEMU_PATH": str(tmp_path)})

    there = machine_handler(architecture, BinfmtMount().entries()) is not None
    assert any(each.architecture == architecture for each in found) == there
    assert all(each.how is not RunsHow.EMULATOR for each in found)


@pytest.mark.parametrize(
    ("flags", "enabled", "found"),
    [("F", True, True), ("OCF", True, True), ("OC", True, False), ("F", False, False)],
)
def test_handlers_of_the_machine_have_to_work_in_any_root(
    flags: str, enabled: bool, found: bool
) -> None:
    entry = replace(get_handler("arm64").as_entry("/qemu", flags), enabled=enabled)

    assert (machine_handler("arm64", [entry]) == entry) == found
    assert machine_handler("arm", [entry]) is machine_handler("vax", [entry]) is None
