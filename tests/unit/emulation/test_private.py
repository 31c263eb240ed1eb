"""Handlers of our own: in a user namespace of a child process, with the kernel's binfmt_misc."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.emulation.binfmt import BINFMT_DIRECTORY, HANDLERS, BinfmtMount, Entry, get_handler
from polyarch.emulation.private import (
    entries_to_register,
    register_more,
    register_private,
)
from polyarch.emulation.probe import probe_level, probe_program
from polyarch.emulation.qemu import Emulator
from polyarch.errors import InternalError, MachineError
from polyarch.process import run
from polyarch.syscalls import in_initial_user_namespace
from tests.support.machine.emulators import fake_qemu
from tests.support.machine.namespaces import in_user_namespace


def lines(*entries: Entry) -> list[tuple[str, bytes]]:
    return [(entry.name, entry.register_line) for entry in entries]


OUTER = st.lists(
    st.builds(
        Entry,
        name=st.sampled_from(["qemu-arm", "qemu-aarch64", "python", "java", "wine"]),
        interpreter=st.just("/outer"),
        flags=st.just("F"),
        enabled=st.booleans(),
        magic=st.sampled_from([b"", b"MZ", get_handler("arm").magic, get_handler("s390x").magic]),
    ),
    max_size=6,
    unique_by=lambda entry: entry.name,
)
EMULATORS = st.lists(st.sampled_from(HANDLERS), max_size=4, unique=True).map(
    lambda handlers: [Emulator(handler=each, path="/ours", version=(9, 0)) for each in handlers]
)


@given(emulators=EMULATORS, outer=OUTER)
def test_ours_come_last_and_nothing_stands_against_them(
    emulators: list[Emulator], outer: list[Entry]
) -> None:
    found = entries_to_register(emulators, outer)
    ours = [each for each in found if each.interpreter == "/ours"]
    kept = [each for each in found if each.interpreter == "/outer"]

    assert list(found) == kept + ours
    assert [each.name for each in ours] == [each.handler.entry for each in emulators]
    assert len({each.name for each in found}) == len(found)
    assert not {each.magic for each in kept} & {each.magic for each in ours}
    left_out = [each for each in outer if each not in kept]
    assert all(
        not each.enabled
        or not each.magic
        or each.name in {own.name for own in ours}
        or each.magic in {own.magic for own in ours}
        for each in left_out
    )


def test_the_initial_namespace_is_known_by_its_number() -> None:
    is_initial = os.readlink("/proc/self/ns/user") == "user:[4026531837]"

    assert in_initial_user_namespace() is is_initial
    in_user_namespace(check_not_initial)


def check_not_initial() -> None:
    assert not in_initial_user_namespace()


@pytest.mark.root
def test_nothing_is_registered_for_the_whole_machine() -> None:
    with pytest.raises(InternalError, match=r"^private handlers would be registered"):
        register_private([])


@pytest.mark.runtime
def test_the_kernel_shows_what_was_registered(tmp_path: Path) -> None:
    program = str(fake_qemu(tmp_path / "qemu"))
    entries = [
        *(handler.as_entry(program, "F") for handler in HANDLERS),
        Entry(name="python", interpreter=program, flags="F", extension="pyc"),
        Entry(name="later", interpreter=program, flags="F", magic=b"\x00:\n\\", offset=40),
    ]

    def check() -> None:
        mounted = register_private(lines(*entries))
        found = BinfmtMount(f"/proc/self/fd/{mounted}").entries()
        assert sorted(found, key=lambda each: each.name) == sorted(
            entries, key=lambda each: each.name
        )

    in_user_namespace(check)


@pytest.mark.runtime
def test_foreign_programs_run_and_nobody_else_sees_it(tmp_path: Path) -> None:
    qemu = fake_qemu(tmp_path / "qemu", status=65)
    foreign = tmp_path / "foreign"
    foreign.write_bytes(probe_program("s390x"))
    foreign.chmod(0o755)
    before = BinfmtMount(BINFMT_DIRECTORY).names()

    def check() -> None:
        mounted = register_private(lines(get_handler("arm").as_entry(str(qemu), "CF")))
        assert run([str(foreign)]).status == 126, "an outer handler is in force"
        assert probe_level("s390x") == 0
        register_more(mounted, lines(get_handler("s390x").as_entry(str(qemu), "CFP")))
        completed = run([str(foreign)])
        assert completed.stdout == b"qemu-any version 9.1.0 (tests)\n"
        assert probe_level("s390x") == 1
        qemu.unlink()
        assert probe_level("s390x") == 1, "F keeps the interpreter open"
        os.close(mounted)

    in_user_namespace(check)
    assert BinfmtMount(BINFMT_DIRECTORY).names() == before


@pytest.mark.runtime
def test_an_outer_interpreter_that_is_gone_is_left_out(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")

    def check() -> None:
        outer = Entry(name="wine", interpreter=gone, flags="F", magic=b"MZ")
        mounted = register_private(lines(outer))
        assert BinfmtMount(f"/proc/self/fd/{mounted}").names() == ()
        ours = get_handler("arm").as_entry(gone, "F")
        with pytest.raises(MachineError, match=f'^cannot register "{gone}" to .*: No such file'):
            register_more(mounted, lines(ours))

    in_user_namespace(check)


@pytest.mark.runtime
def test_a_failure_leaves_no_descriptor_open(tmp_path: Path) -> None:
    def check() -> None:
        before = os.listdir("/proc/self/fd")
        with pytest.raises(MachineError):
            register_private(lines(get_handler("arm").as_entry("/no/such", "F")))
        assert os.listdir("/proc/self/fd") == before

    in_user_namespace(check)
