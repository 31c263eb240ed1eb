"""Handlers for twins."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.emulation.private import register_private
from polyarch.errors import MachineError
from polyarch.platforms import linux
from polyarch.twins.registration import TwinPlan, plan_twins, register_twins
from polyarch.twins.sets import Twin, TwinSet
from tests.support.machine.emulators import fake_program
from tests.support.machine.namespaces import in_user_namespace

HEADER = b"\x7fELF foreign".ljust(256, b"\1")
pytestmark = [pytest.mark.root]


def a_set(directory: Path) -> TwinSet:
    twins = [
        Twin(path=path, header=header, digest="", ring="a", starts="/bin/true")
        for path, header in (("/bin/true", HEADER), ("/bin/false", HEADER))
    ]
    return TwinSet(number=4, directory=directory, platform=linux("arm64"), twins=tuple(twins))


def test_a_plan_has_each_header_once(tmp_path: Path) -> None:
    assert plan_twins(a_set(tmp_path)) == {
        "tree": str(tmp_path / "root"),
        "number": 4,
        "first": {HEADER.hex(): "/bin/true"},
    }


def plan(tmp_path: Path) -> TwinPlan:
    program = tmp_path / "root/bin/true"
    program.parent.mkdir(parents=True)
    program.write_bytes(fake_program(b"twin", architecture="amd64"))
    program.chmod(0o755)
    return plan_twins(a_set(tmp_path))


def test_the_twin_is_registered(tmp_path: Path) -> None:
    wanted = plan(tmp_path)

    def work() -> None:
        mounted = register_private(())
        register_twins(mounted, [wanted])
        with open(f"/proc/self/fd/{mounted}/twin-4-0", encoding="ascii") as file:
            shown = file.read()
        assert "/bin/true" in shown
        assert "flags: POF" in shown
        assert HEADER.hex() in shown

    in_user_namespace(work)


def test_a_set_that_is_gone(tmp_path: Path) -> None:
    wanted = plan_twins(a_set(tmp_path))

    with pytest.raises(MachineError, match="native twins can't be registered from"):
        register_twins(-1, [wanted])
