"""The machine in texts of programs."""

from __future__ import annotations

import struct

import pytest

from polyarch.emulation.extended import PT_INTERP
from polyarch.errors import MachineError
from polyarch.platforms import linux
from polyarch.twins.elffile import ElfFile
from polyarch.twins.texts import foreign_texts
from tests.support.machine.twinprograms import with_note

ARM64, ARM = linux("arm64"), linux("arm", "v7")


def program(*texts: bytes) -> ElfFile:
    return ElfFile(with_note(b"\xc3", data=b"".join(b"\0" + each for each in texts) + b"\0"), "p")


def loaded_by(loader: bytes, before: bytes) -> ElfFile:
    """Return a program with the path of a loader, and what lies right before that."""
    data = bytearray(with_note(b"\xc3", data=before + loader + b"\0"))
    place, size = data.index(loader), len(loader) + 1
    struct.pack_into("<IIQQQQQQ", data, 64 + 56, PT_INTERP, 4, place, place, place, size, size, 1)
    return ElfFile(bytes(data), "p")


@pytest.mark.parametrize("before", [b"\0", b"~", b"\x9cid^*>"])
def test_the_path_of_the_loader_is_no_text_whatever_lies_before_it(before: bytes) -> None:
    native = loaded_by(b"/lib64/ld-linux-x86-64.so.2", before)

    assert foreign_texts(native, loaded_by(b"/lib/ld-linux-aarch64.so.1", before), ARM64) == {}


def test_the_words_of_a_shell() -> None:
    native = program(b"x86_64-pc-linux-gnu", b"x86_64", b"other")
    foreign = program(b"aarch64-unknown-linux-gnu", b"aarch64", b"other")

    assert foreign_texts(native, foreign, ARM64) == {
        b"x86_64-pc-linux-gnu": b"aarch64-unknown-linux-gnu",
        b"x86_64": b"aarch64",
    }


def test_the_system_is_another_one_too() -> None:
    native = program(b"x86_64-pc-linux-gnu", b"x86_64")
    foreign = program(b"arm-unknown-linux-gnueabihf")

    assert foreign_texts(native, foreign, ARM)[b"linux-gnu"] == b"linux-gnueabihf"
    assert foreign_texts(native, foreign, ARM)[b"x86_64"] == b"arm"


@pytest.mark.parametrize(
    ("text", "counterpart"),
    [
        (b"1.21.22 (amd64)", b"1.21.22 (arm64)"),
        (b"/usr/lib/x86_64-linux-gnu/gnupg", b"/usr/lib/aarch64-linux-gnu/gnupg"),
        (b"for x86_64\n", b"for aarch64\n"),
        (b"x86_64-alpine-linux-musl", b"aarch64-alpine-linux-musl"),
    ],
)
def test_a_text_has_its_counterpart(text: bytes, counterpart: bytes) -> None:
    assert foreign_texts(program(text), program(counterpart), ARM64) == {text: counterpart}


@pytest.mark.parametrize(
    "theirs", [(), (b"1.0 for arm65",), (b"1.1 for arm64",), (b"1.0 for armhf",)]
)
def test_a_text_without_a_counterpart(theirs: tuple[bytes, ...]) -> None:
    with pytest.raises(MachineError, match="it names the machine: '1\\.0 for amd64'"):
        foreign_texts(program(b"1.0 for amd64", b"x"), program(*theirs), ARM64)


def test_what_names_no_machine_stays() -> None:
    assert foreign_texts(program(b"linux", b"i686"), program(b"linux"), ARM64) == {}


def test_what_names_one_machine_everywhere_stays() -> None:
    text = b"amd64-microcode"

    assert foreign_texts(program(text, b"amd64", b""), program(text, b"arm64", b""), ARM64) == {
        b"amd64": b"arm64"
    }
