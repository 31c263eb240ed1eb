"""Loaders, libraries and programs that become twins; without a foreign program they are what they were."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import pytest

from polyarch.emulation.extended import Extended
from polyarch.errors import MachineError
from polyarch.record import replace
from polyarch.twins.elffile import ElfFile
from polyarch.twins.loadercache import loader_cache
from polyarch.twins.patch import (
    Changes,
    Surroundings,
    patch_libc,
    patch_library,
    patch_loader,
    patch_program,
)
from polyarch.twins.patch_entry import Known
from tests.support.machine.twinprograms import with_note
from tools.debian import fetch, packages_directory, unpack

AROUND = Surroundings(
    loader="/dev/.pa/1/l/ld",
    cache="/dev/.pa/1/c",
    emulator="/dev/.pa/1/qemu",
    given_up="/dev/.pa/1/given-up",
    machine="aarch64",
)
LIBRARIES = Path("/usr/lib/x86_64-linux-gnu")
KNOWN = [Known(size=1, offset=0, content=b"")]


def started(program: bytes, directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    path = directory / "program"
    path.write_bytes(program)
    path.chmod(0o755)
    return subprocess.run([path, *arguments], capture_output=True, check=False, text=True)


def test_a_program_with_its_own_loader_and_libc() -> None:
    # The paths have to fit in the place of glibc's.
    with tempfile.TemporaryDirectory(prefix="", dir="/tmp") as directory:
        around = Surroundings(
            loader=f"{directory}/l",
            cache=f"{directory}/c",
            emulator="/none",
            given_up="/none",
            machine="aarch64",
        )
        place = Path(directory)
        loader = (LIBRARIES / "ld-linux-x86-64.so.2").read_bytes()
        (place / "l").write_bytes(patch_loader(loader, around))
        (place / "l").chmod(0o755)
        (place / "libc").write_bytes(patch_libc((LIBRARIES / "libc.so.6").read_bytes(), around))
        (place / "c").write_bytes(loader_cache({"libc.so.6": f"{directory}/libc"}))
        program = ElfFile(Path("/usr/bin/uname").read_bytes(), "uname")
        twin = patch_program(program, KNOWN, around, Changes(texts={}))

        assert started(twin, place, "-m").stdout == "aarch64\n"


def test_the_loader_of_musl(tmp_path: Path) -> None:
    (package,) = fetch(packages_directory(), "amd64", ["musl"])
    unpack(package, tmp_path, lambda path: path.endswith("/libc.so"))
    (loader,) = tmp_path.rglob("libc.so")

    patched = patch_loader(loader.read_bytes(), AROUND)

    assert started(patched, tmp_path).stderr.startswith("musl libc (x86_64)")
    assert b"aarch64\0" in patched


def test_libc_tells_the_machine(tmp_path: Path) -> None:
    (tmp_path / "libc.so.6").write_bytes(patch_libc((LIBRARIES / "libc.so.6").read_bytes(), AROUND))
    environ = {"LD_LIBRARY_PATH": str(tmp_path)}

    told = subprocess.run(["/usr/bin/uname", "-m"], env=environ, capture_output=True, check=True)

    assert told.stdout == b"aarch64\n"


def test_a_library_without_the_call_is_no_libc() -> None:
    with pytest.raises(MachineError, match="no call of uname"):
        patch_libc((LIBRARIES / "libz.so.1").read_bytes(), AROUND)


def test_a_library_keeps_what_it_does(tmp_path: Path) -> None:
    library = LIBRARIES / "libz.so.1"

    assert len(patch_library(library.read_bytes())) == library.stat().st_size


def test_a_dynamic_program_has_another_loader() -> None:
    program = ElfFile(Path("/usr/bin/env").read_bytes(), "env")

    patched = ElfFile(patch_program(program, KNOWN, AROUND, Changes(texts={})), "patched")

    assert patched.interpreter == "/dev/.pa/1/l/ld"
    assert patched.needed == program.needed


def test_a_static_program_must_have_the_call() -> None:
    program = ElfFile(with_note(b"\xc3"), "static")

    with pytest.raises(MachineError, match="no call of uname"):
        patch_program(program, KNOWN, AROUND, Changes(texts={}))


def test_a_path_of_the_loader_that_is_too_long() -> None:
    program = ElfFile(Path("/usr/bin/env").read_bytes(), "env")
    around = replace(AROUND, loader="/" + "x" * 40)

    with pytest.raises(MachineError, match="no room"):
        patch_program(program, KNOWN, around, Changes(texts={}))


def test_a_foreign_file_is_none() -> None:
    with pytest.raises(MachineError, match="x86-64"):
        Extended(b"\x7fELF\1\1")
