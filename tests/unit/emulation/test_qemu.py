"""Finding emulators: fakes in directories that the environment names."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from polyarch.emulation.binfmt import HANDLERS, Handler, get_handler
from polyarch.emulation.facts import Facts
from polyarch.emulation.qemu import (
    Emulator,
    emulator_from,
    emulator_name,
    find_emulator,
    find_path,
)
from tests.support.machine.emulators import fake_qemu

NOWHERE = Handler(architecture="none", qemu="nowhere", magic=b"\x7fELF", mask=b"\xff" * 4)
"""One that isn't installed on any machine."""


def environment(**directories: Path) -> dict[str, str]:
    return {name: str(directory) for name, directory in directories.items()}


def test_an_emulator_is_found_with_its_version(tmp_path: Path) -> None:
    path = fake_qemu(tmp_path / "qemu-aarch64-static", "9.1.2")

    found = find_emulator("arm64", Facts(None), environment(POLYARCH_QEMU_PATH=tmp_path))

    assert found == Emulator(handler=get_handler("arm64"), path=str(path), version=(9, 1))


def test_our_own_variable_goes_first_and_path_last(tmp_path: Path) -> None:
    variables = ("POLYARCH_QEMU_PATH", "QEMU_BINARY_PATH", "PATH")
    paths = [str(fake_qemu(tmp_path / name / "qemu-nowhere")) for name in variables]
    environ = environment(**{name: tmp_path / name for name in variables})

    found = []
    for variable in variables:
        found.append(find_path(NOWHERE, environ))
        del environ[variable]

    assert found == paths
    assert find_path(NOWHERE, environ) == ""


def test_names_in_the_order_of_preference(tmp_path: Path) -> None:
    names = ["qemu-nowhere-static", "qemu-nowhere", "buildkit-qemu-none"]
    for name in names:
        fake_qemu(tmp_path / name)

    found = []
    for name in names:
        found.append(os.path.basename(find_path(NOWHERE, environment(PATH=tmp_path))))
        (tmp_path / name).unlink()

    assert found == names


def test_a_prefix_belongs_to_the_name(tmp_path: Path) -> None:
    path = fake_qemu(tmp_path / "my-qemu-nowhere-static")
    environ = {**environment(PATH=tmp_path), "QEMU_BINARY_PREFIX": "my-"}

    assert find_path(NOWHERE, environ) == str(path)


def test_directories_are_searched_in_order_and_empty_ones_passed_over(tmp_path: Path) -> None:
    path = fake_qemu(tmp_path / "b/qemu-nowhere")
    fake_qemu(tmp_path / "c/qemu-nowhere")
    directories = [str(tmp_path / "a"), "", str(tmp_path / "b"), str(tmp_path / "c")]

    assert find_path(NOWHERE, {"PATH": ":".join(directories)}) == str(path)


def test_only_static_programs_that_may_be_run_count(tmp_path: Path) -> None:
    dynamic = fake_qemu(tmp_path / "a/qemu-nowhere")
    data = bytearray(dynamic.read_bytes())
    struct.pack_into("<I", data, 64, 3)
    dynamic.write_bytes(data)
    fake_qemu(tmp_path / "b/qemu-nowhere").chmod(0o644)
    (tmp_path / "c").mkdir()
    (tmp_path / "c/qemu-nowhere").write_text("#!/bin/sh\n")
    (tmp_path / "c/qemu-nowhere").chmod(0o755)
    (tmp_path / "d/qemu-nowhere").mkdir(parents=True)
    directories = ":".join(str(tmp_path / name) for name in "abcd")

    assert find_path(NOWHERE, {"PATH": directories}) == ""


def test_a_link_is_followed_to_the_program(tmp_path: Path) -> None:
    path = fake_qemu(tmp_path / "opt/qemu")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/qemu-aarch64").symlink_to(path)

    found = find_emulator("arm64", Facts(None), environment(POLYARCH_QEMU_PATH=tmp_path / "bin"))

    assert found is not None
    assert found.path == str(path)


def test_a_new_program_in_the_place_is_asked_anew(tmp_path: Path) -> None:
    facts = Facts(tmp_path / "facts")
    versions = []
    for version in ("7.2.0", "10.0.1", ""):
        path = fake_qemu(tmp_path / "new", version).rename(tmp_path / "qemu")
        versions.append(emulator_from(get_handler("arm64"), str(path), facts).version)

    assert versions == [(7, 2), (10, 0), (0, 0)]


def test_what_no_emulator_runs(tmp_path: Path) -> None:
    fake_qemu(tmp_path / "qemu-aarch64")

    assert find_emulator("vax", Facts(None), environment(PATH=tmp_path)) is None


@pytest.mark.parametrize(
    ("version", "flags", "arm64"),
    [
        ((0, 0), "CF", ""),
        ((5, 2), "CF", ""),
        ((6, 0), "CFP", "max,pauth-impdef=on"),
        ((9, 9), "CFP", "max,pauth-impdef=on"),
        ((10, 0), "CFP", ""),
    ],
)
def test_what_depends_on_the_version(version: tuple[int, int], flags: str, arm64: str) -> None:
    emulators = [
        Emulator(handler=get_handler(name), path="/q", version=version) for name in ("arm64", "arm")
    ]

    assert [each.flags for each in emulators] == [flags] * 2
    assert [each.cpu for each in emulators] == [arm64, ""]


def test_buildkits_names() -> None:
    assert {each.architecture: emulator_name(each.architecture) for each in HANDLERS[:4]} == {
        "amd64": "x86_64",
        "386": "i386",
        "arm64": "aarch64",
        "arm": "arm",
    }
