"""What a plain install brings along, on which machines."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

PROJECT = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
REQUIREMENTS = {each.name: each for each in map(Requirement, PROJECT["dependencies"])}


@pytest.mark.parametrize(
    ("machine", "more", "expected"),
    [
        ("x86_64", {}, True),
        ("aarch64", {}, True),
        ("ppc64le", {}, False),
        ("riscv64", {}, False),
        ("i686", {}, False),
        ("x86_64", {"implementation_name": "pypy"}, False),
        ("x86_64", {"sys_platform": "darwin"}, False),
        ("x86_64", {"python_version": "3.16"}, False),
    ],
)
def test_fast_gzip_is_installed_where_it_has_wheels(
    machine: str, more: dict[str, str], *, expected: bool
) -> None:
    marker = REQUIREMENTS["isal"].marker
    machines = {
        "platform_machine": machine,
        "sys_platform": "linux",
        "implementation_name": "cpython",
        "python_version": "3.12",
    }

    assert marker is not None
    assert marker.evaluate({**machines, **more}) is expected


def test_the_old_name_of_it_still_installs() -> None:
    assert PROJECT["optional-dependencies"]["fast"] == []
