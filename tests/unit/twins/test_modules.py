"""Modules in machine code that perl loads."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from polyarch.errors import MachineError
from polyarch.twins.elffile import ElfFile
from polyarch.twins.modules import find_modules, loads_modules, modules_of_debconf
from tests.support.machine.twinprograms import with_note

FOREIGN = "usr/lib/aarch64-linux-gnu"
NATIVE = "usr/lib/x86_64-linux-gnu"
PERL = "/usr/bin/perl"


def put(root: Path, path: str) -> None:
    place = root / path
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy("/usr/bin/env", place)


def test_both_have_the_same_ones(tmp_path: Path) -> None:
    foreign, native = tmp_path / "foreign", tmp_path / "native"
    for path in ("perl-base/auto/IO/IO.so", "perl5/5.36/auto/X/X.so", "perl/5.36.0/auto/Y/Y.so"):
        put(foreign, f"{FOREIGN}/{path}")
        put(native, f"{NATIVE}/{path}")
    put(foreign, f"{FOREIGN}/perl-base/text.pm")
    put(foreign, f"{FOREIGN}/gconv/x.so")

    found = find_modules(PERL, foreign, native)

    assert {path: file.name for path, file in found.items()} == {
        f"/{FOREIGN}/{path}": f"/{NATIVE}/{path}"
        for path in (
            "perl-base/auto/IO/IO.so",
            "perl5/5.36/auto/X/X.so",
            "perl/5.36.0/auto/Y/Y.so",
        )
    }


def test_one_that_the_native_root_lacks(tmp_path: Path) -> None:
    put(tmp_path / "foreign", f"{FOREIGN}/perl-base/auto/IO/IO.so")

    with pytest.raises(MachineError, match=r"has no /usr/lib/x86_64-linux-gnu/perl-base/.*IO.so"):
        find_modules(PERL, tmp_path / "foreign", tmp_path)


def test_links_lead_nowhere_outside(tmp_path: Path) -> None:
    put(tmp_path / "outside", "auto/IO/IO.so")
    root = tmp_path / "root"
    (root / FOREIGN).mkdir(parents=True)
    (root / FOREIGN / "perl").symlink_to(tmp_path / "outside")

    assert find_modules(PERL, root, tmp_path) == {}


def test_of_pythons_those_are_taken_that_are_vetted_and_in_both(tmp_path: Path) -> None:
    foreign, native = tmp_path / "foreign", tmp_path / "native"
    directory = "usr/lib/python3.11/lib-dynload"
    for name in ("_json", "_sqlite3", "_ssl"):
        put(foreign, f"{directory}/{name}.cpython-311-aarch64-linux-gnu.so")
    for name in ("_json", "_sqlite3"):
        put(native, f"{directory}/{name}.cpython-311-x86_64-linux-gnu.so")
    put(foreign, f"{directory}/_bz2.so")

    found = find_modules("/usr/bin/python3.11", foreign, native)

    assert {path: file.name for path, file in found.items()} == {
        f"/{directory}/_json.cpython-311-aarch64-linux-gnu.so": (
            f"/{directory}/_json.cpython-311-x86_64-linux-gnu.so"
        )
    }


def test_only_perl_and_python_do() -> None:
    assert loads_modules("/usr/bin/perl")
    assert loads_modules("/usr/bin/python3.11")
    assert not loads_modules("/usr/bin/bash")


def test_where_debconf_finds_its_modules() -> None:
    data = b"\0/usr/lib/aarch64-linux-gnu/perl5/5.40\0/usr/share/perl5\0"

    assert modules_of_debconf(ElfFile(with_note(b"\xc3", data=data), "perl")) == (
        "/usr/lib/aarch64-linux-gnu/perl5/5.40/auto/Locale/gettext/gettext.so",
        "/usr/lib/aarch64-linux-gnu/perl5/5.40/auto/Text/CharWidth/CharWidth.so",
    )
    assert modules_of_debconf(ElfFile(with_note(b"\xc3"), "perl")) == ()
