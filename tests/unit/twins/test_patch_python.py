"""Python without what depends on the CPU; how it behaves is tested with twins."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from polyarch.emulation.extended import Extended
from polyarch.errors import MachineError
from polyarch.twins.elffile import ElfFile
from polyarch.twins.patch_python import check_built_alike, limit_python
from polyarch.twins.patch_refusals import add_refusal
from tests.support.machine.twinprograms import with_note
from tools.debian import fetch, packages_directory, unpack


def test_complex_numbers_are_refused(tmp_path: Path) -> None:
    (package,) = fetch(packages_directory(), "amd64", ["python3.11-minimal"])
    unpack(package, tmp_path, lambda path: path == "usr/bin/python3.11")
    python = ElfFile((tmp_path / "usr/bin/python3.11").read_bytes(), "python3.11")
    extended = Extended(python.data)
    refusal = add_refusal(extended, "/mark")
    limit_python(extended, python, refusal)

    kind, _ = python.exported("PyComplex_Type")
    (table,) = struct.unpack_from("<Q", extended.data, extended.offset(kind + 96))
    operations = struct.unpack_from("<6Q", extended.data, extended.offset(table))
    assert [each == refusal for each in operations] == [False, False, True, False, False, True]


def test_one_without_fixed_addresses_is_another_one() -> None:
    perl = ElfFile(Path("/usr/bin/perl").read_bytes(), "perl")

    with pytest.raises(MachineError, match="no fixed addresses"):
        limit_python(Extended(perl.data), perl, 0)


def built(when: bytes) -> ElfFile:
    return ElfFile(with_note(b"", data=b"\0" + when + b"\0[GCC 12.2.0]\0"), "python")


def test_one_of_another_day_says_so() -> None:
    with pytest.raises(MachineError, match="compiled at another time"):
        check_built_alike(built(b"Apr 28 2025"), built(b"Apr 29 2025"))
