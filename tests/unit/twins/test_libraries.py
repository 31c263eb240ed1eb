"""The libraries of native programs."""

from __future__ import annotations

from pathlib import Path

import pytest

from polyarch.errors import MachineError
from polyarch.twins.libraries import (
    X86_64,
    NativeLibraries,
    find_library,
    read_elf_in,
    service_modules,
)

HERE = Path("/")


def test_all_that_a_program_needs() -> None:
    needed = read_elf_in(HERE, "/usr/bin/ls").needed

    found = NativeLibraries(HERE).closure(needed)

    assert {*needed, "libc.so.6", "ld-linux-x86-64.so.2"} <= found.keys()
    assert all(library.path.startswith("/usr/lib") for library in found.values())
    assert found["libc.so.6"].file.soname == "libc.so.6"


def test_one_that_isnt_there(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"libnone.so isn't in the native image"):
        NativeLibraries(tmp_path).closure(["libnone.so"])


def test_a_path_is_no_name() -> None:
    with pytest.raises(MachineError, match="named by its path"):
        NativeLibraries(HERE).get("/usr/lib/x.so")


def test_modules_for_users_and_hosts(tmp_path: Path) -> None:
    for path in (
        "lib/libnss_files.so.2",
        "usr/lib/aarch64-linux-gnu/libnss_sss.so.2",
        "usr/lib/aarch64-linux-gnu/libnss3.so",
        "outside/libnss_bad.so.2",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    (tmp_path / "usr/lib/arm-linux-gnueabihf").symlink_to(tmp_path / "outside")

    assert service_modules(tmp_path) == {"libnss_files.so.2", "libnss_sss.so.2"}


def test_a_root_without_libraries(tmp_path: Path) -> None:
    assert service_modules(tmp_path) == set()


def test_the_library_of_a_machine() -> None:
    assert find_library(HERE, "libc.so.6", (64, X86_64)).soname == "libc.so.6"
    with pytest.raises(MachineError, match=r"libc.so.6 isn't in the image"):
        find_library(HERE, "libc.so.6", (64, 183))
