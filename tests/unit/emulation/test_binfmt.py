"""Handlers and entries: what is written for the kernel, and what it shows."""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.emulation.binfmt import (
    HANDLERS,
    BinfmtMount,
    Entry,
    Handler,
    get_handler,
    parse_entry,
    status,
)
from polyarch.emulation.elf import build_elf, read_elf
from polyarch.emulation.probe import probe_program
from polyarch.errors import InputError, MachineError
from polyarch.record import replace
from tests.support.machine.handlers import architectures_of

NAMES = st.text("abcz09_-", min_size=1, max_size=10)
PATHS = st.text("abc/.-_", min_size=1, max_size=12).map(lambda path: f"/{path}")


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    general: dict[str, Any] = {
        "name": draw(NAMES),
        "interpreter": draw(PATHS),
        "flags": draw(st.sampled_from(["", "F", "POCF"])),
        "enabled": draw(st.booleans()),
    }
    if draw(st.booleans()):
        return Entry(**general, extension=draw(NAMES))
    magic = draw(st.binary(min_size=1, max_size=20))
    mask = draw(st.just(b"") | st.binary(min_size=len(magic), max_size=len(magic)))
    return Entry(**general, magic=magic, mask=mask, offset=draw(st.integers(0, 107)))


def shown(entry: Entry) -> str:
    """What the kernel has in the file of an entry (bm_entry_read in fs/binfmt_misc.c)."""
    lines = [
        "enabled" if entry.enabled else "disabled",
        f"interpreter {entry.interpreter}",
        f"flags: {entry.flags}",
    ]
    if entry.extension:
        lines.append(f"extension .{entry.extension}")
    else:
        lines += [f"offset {entry.offset}", f"magic {entry.magic.hex()}"]
        lines += [f"mask {entry.mask.hex()}"] if entry.mask else []
    return "".join(f"{line}\n" for line in lines)


def registered(line: bytes) -> tuple[str, ...]:
    """What the kernel makes of a register line: its fields, with what was escaped in hex."""
    fields = line[1:].split(line[:1])
    return tuple(
        re.sub(rb"\\x(..)|(.)", lambda each: each[1] or each[2].hex().encode(), field).decode()
        if number in {3, 4}
        else os.fsdecode(field)
        for number, field in enumerate(fields)
    )


@given(entry=entries())
def test_what_the_kernel_shows_is_read(entry: Entry) -> None:
    assert parse_entry(entry.name, shown(entry)) == entry


@given(entry=entries())
def test_what_is_registered_is_the_entry(entry: Entry) -> None:
    last = (entry.interpreter, entry.flags)

    if entry.extension:
        expected = (entry.name, "E", "", entry.extension, "", *last)
        assert tuple(os.fsdecode(each) for each in entry.register_line[1:].split(b":")) == expected
    else:
        expected = (entry.name, "M", str(entry.offset), entry.magic.hex(), entry.mask.hex(), *last)
        assert registered(entry.register_line) == expected


@given(entry=entries(), header=st.binary(max_size=130), flips=st.binary(min_size=20, max_size=20))
def test_bits_under_the_mask_decide(entry: Entry, header: bytes, flips: bytes) -> None:
    masks = entry.mask or b"\xff" * len(entry.magic)
    unmasked = bytes(
        byte ^ (flip & ~mask & 0xFF)
        for byte, flip, mask in zip(entry.magic, flips, masks, strict=False)
    )
    fitting = header[: entry.offset].ljust(entry.offset, b"\0") + unmasked

    assert entry.matches(fitting) is bool(entry.magic)
    for place, mask in enumerate(masks):
        if mask:
            wrong = bytearray(fitting)
            wrong[entry.offset + place] ^= mask
            assert not entry.matches(bytes(wrong))


@pytest.mark.parametrize("handler", HANDLERS, ids=lambda handler: handler.architecture)
def test_a_handler_takes_the_programs_of_its_architecture_alone(handler: Handler) -> None:
    program = probe_program(handler.architecture)
    movable = bytearray(program)
    movable[16 if read_elf(io.BytesIO(program), "program").little_endian else 17] = 3

    assert architectures_of(program) == (handler.architecture,)
    assert architectures_of(bytes(movable)) == (handler.architecture,)
    assert architectures_of(program[:19]) == ()


@given(
    bits=st.sampled_from([32, 64]),
    little_endian=st.booleans(),
    machine=st.integers(0, 300),
    data=st.data(),
)
def test_no_two_handlers_want_the_same_program(
    bits: int, little_endian: bool, machine: int, data: st.DataObject
) -> None:
    known = {
        read_elf(io.BytesIO(probe_program(each.architecture)), "").machine for each in HANDLERS
    }
    chosen = data.draw(st.sampled_from([machine, *sorted(known)]))
    program = build_elf(b"", bits=bits, little_endian=little_endian, machine=chosen, flags=0)

    assert len(architectures_of(program)) <= 1


def test_an_unknown_architecture_has_no_handler() -> None:
    with pytest.raises(InputError, match=r"^unsupported architecture: vax$"):
        get_handler("vax")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "enabled\n",
        "enabled\ninterpreter /q\nmagic xyz\n",
        "enabled\ninterpreter /q\noffset x\n",
    ],
)
def test_an_unknown_form_is_an_error(text: str) -> None:
    with pytest.raises(MachineError) as caught:
        parse_entry("odd", text)

    assert str(caught.value) == f"binfmt_misc entry odd is in an unknown form: {text!r}"


@pytest.mark.parametrize(
    ("flags", "enabled", "works"),
    [("POCF", True, True), ("POC", True, False), ("F", False, False), ("", True, False)],
)
def test_who_works_in_any_root(flags: str, enabled: bool, works: bool) -> None:
    entry = Entry(name="e", interpreter="/q", flags=flags, enabled=enabled)

    assert entry.works_in_any_root is works


# A directory in the place of a mount: what is written can be looked at.


def directory_of(path: Path, *members: Entry) -> BinfmtMount:
    for name in ("register", "status"):
        (path / name).write_text("enabled")
    for member in members:
        (path / member.name).write_text(shown(member))
    return BinfmtMount(str(path))


def qemu(architecture: str, *, enabled: bool = True) -> Entry:
    entry = get_handler(architecture).as_entry("/usr/bin/qemu", "POCF")
    return replace(entry, enabled=enabled)


def test_entries_are_listed_by_name(tmp_path: Path) -> None:
    directory = directory_of(tmp_path, qemu("arm"), qemu("arm64", enabled=False))
    (tmp_path / "WSLInterop").touch()

    assert directory.mounted
    assert directory.names() == ("qemu-aarch64", "qemu-arm")
    assert directory.entries() == (qemu("arm64", enabled=False), qemu("arm"))


def test_where_nothing_is_mounted_there_is_nothing(tmp_path: Path) -> None:
    directory = BinfmtMount(str(tmp_path / "none"))

    assert (directory.mounted, directory.names(), directory.entries()) == (False, (), ())


def test_registering_writes_the_line(tmp_path: Path) -> None:
    directory = directory_of(tmp_path)

    directory.register(qemu("arm"))

    written = (tmp_path / "register").read_bytes()
    assert written.startswith(qemu("arm").register_line)
    assert written.startswith(rb":qemu-arm:M:0:\x7fELF\x01\x01\x01")


def test_a_name_is_registered_once(tmp_path: Path) -> None:
    directory = directory_of(tmp_path, qemu("arm"))

    with pytest.raises(MachineError, match=r"^qemu-arm already registered$"):
        directory.register(qemu("arm"))


def test_what_the_kernel_refuses_is_told(tmp_path: Path) -> None:
    directory = BinfmtMount(str(tmp_path))

    with pytest.raises(MachineError) as caught:
        directory.register(qemu("arm"))

    assert str(caught.value) == (
        f'cannot register "/usr/bin/qemu" to {tmp_path}/register: No such file or directory'
    )


def test_removing_tells_the_kernel(tmp_path: Path) -> None:
    directory = directory_of(tmp_path, qemu("arm"))

    directory.remove("qemu-arm")

    assert (tmp_path / "qemu-arm").read_bytes() == b"-1"
    with pytest.raises(MachineError, match=r"^qemu-arm64 not found$"):
        directory.remove("qemu-arm64")


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("arm64", ["qemu-aarch64"]),
        ("aarch64", ["qemu-aarch64"]),
        ("qemu-arm", ["qemu-arm"]),
        ("qemu-*", ["qemu-aarch64", "qemu-arm"]),
        ("s390x", []),
        ("python", ["python"]),
    ],
)
def test_entries_are_found_by_many_names(tmp_path: Path, pattern: str, found: list[str]) -> None:
    python = Entry(name="python", interpreter="/p", flags="", extension="pyc")
    directory = directory_of(tmp_path, qemu("arm"), qemu("arm64"), python)

    assert list(directory.find(pattern)) == found


def test_the_status_as_json() -> None:
    members = [qemu("arm"), qemu("arm64", enabled=False)]

    assert status(["linux/amd64", "linux/arm/v7"], members) == {
        "supported": ["linux/amd64", "linux/arm/v7"],
        "emulators": ["qemu-arm"],
    }
    assert status([], [])["emulators"] is None
