"""The filter as the kernel runs it, against the profile in words, call by call."""

from __future__ import annotations

import errno
import os
import stat
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch import syscalls
from polyarch.errors import NoRuntime
from polyarch.runtime.configuration import Seccomp
from polyarch.runtime.seccomp import Handed, compile_filter, handed_calls, oci_profile
from polyarch.runtime.syscall_numbers import NUMBERS, NUMBERS_OF
from tests.support.machine.namespaces import in_user_namespace

ALLOW, KILL = 0x7FFF0000, 0x80000000
EPERM, ENOSYS = 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
AUDIT = {"x86_64": 0xC000003E, "i386": 0x40000003, "aarch64": 0xC00000B7, "arm": 0x40000028}
SIBLINGS = {"x86_64": "x86_64", "i386": "x86_64", "aarch64": "aarch64", "arm": "aarch64"}
SPECIAL = {"clone", "clone3", "socket", "personality"}
NEWEST = 600
"""Younger than all calls that there are, and below those that ARM has for itself."""
ARM_PRIVATE = 0x0F0000


def decide(program: bytes, architecture: int, number: int, *arguments: int) -> int:
    """Run a filter as the kernel does (seccomp(2), linux/filter.h)."""
    padded = (*arguments, *(0,) * 6)[:6]
    data = struct.pack("=iIQ6Q", number, architecture, 0, *padded)
    accumulator, place = 0, 0
    while True:
        code, on_true, on_false, operand = struct.unpack_from("HBBI", program, place * 8)
        place += 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("=I", data, operand)
            case 0x05:
                place += operand
            case 0x54:
                accumulator &= operand
            case 0x06:
                return int(operand)
            case _:
                is_true = {
                    0x15: accumulator == operand,
                    0x25: accumulator > operand,
                    0x35: accumulator >= operand,
                }[code]
                place += on_true if is_true else on_false


def numbers(machine: str) -> dict[str, int]:
    column = NUMBERS_OF.index(machine) + 1
    rows = [line.split() for line in NUMBERS.strip().splitlines()]
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}


def allowed(machine: str) -> set[str]:
    """The names of calls that the profile allows whatever their arguments."""
    rules = oci_profile(SIBLINGS[machine])["syscalls"]
    plain = [rule for rule in rules if rule["action"] == "SCMP_ACT_ALLOW" and "args" not in rule]
    return {name for rule in plain for name in rule["names"]}


def verdict(machine: str, number: int, *arguments: int) -> int:
    return decide(compile_filter(SIBLINGS[machine]), AUDIT[machine], number, *arguments)


@pytest.mark.parametrize("machine", NUMBERS_OF)
def test_every_call_is_decided_as_the_profile_says(machine: str) -> None:
    known = numbers(machine)
    names = {number: name for name, number in known.items()}
    # The sibling's own calls are decided by its own list.
    both = allowed(machine)
    wrong = {}
    for number in range(max(each for each in known.values() if each < ARM_PRIVATE) + 1):
        name = names.get(number, "")
        if name not in SPECIAL:
            expected = ALLOW if name in both else EPERM
            if verdict(machine, number) != expected:
                wrong[number] = name

    # arm has calls of its own, which the profile of its 64-bit sibling names, too.
    assert wrong == {}


@pytest.mark.parametrize("machine", NUMBERS_OF)
def test_younger_calls_do_not_exist(machine: str) -> None:
    assert verdict(machine, NEWEST) == ENOSYS
    assert verdict(machine, numbers(machine)["clone3"]) == ENOSYS


def test_the_calls_that_arm_has_for_itself() -> None:
    private = {name: each for name, each in numbers("arm").items() if each >= ARM_PRIVATE}

    assert sorted(private) == ["breakpoint", "cacheflush", "set_tls"]
    assert {verdict("arm", number) for number in private.values()} == {ALLOW}
    assert verdict("arm", max(private.values()) + 1) != ALLOW


@pytest.mark.parametrize("machine", NUMBERS_OF)
@pytest.mark.parametrize(
    ("family", "expected"), [(1, ALLOW), (2, ALLOW), (16, ALLOW), (38, EPERM), (40, EPERM)]
)
def test_kinds_of_sockets(machine: str, family: int, expected: int) -> None:
    assert verdict(machine, numbers(machine)["socket"], family) == expected


@pytest.mark.parametrize("machine", NUMBERS_OF)
@given(value=st.integers(0, 2**32 - 1) | st.sampled_from([0, 8, 0x20000, 0x20008, 0xFFFFFFFF]))
def test_personalities(machine: str, value: int) -> None:
    fine = value in {0, 8, 0x20000, 0x20008, 0xFFFFFFFF}

    assert verdict(machine, numbers(machine)["personality"], value) == (ALLOW if fine else EPERM)


NAMESPACES = 0x7E020000


@pytest.mark.parametrize("machine", NUMBERS_OF)
@given(flags=st.integers(0, 2**32 - 1) | st.sampled_from([1 << bit for bit in range(32)]))
def test_clone_makes_no_namespaces(machine: str, flags: int) -> None:
    expected = EPERM if flags & NAMESPACES else ALLOW

    assert verdict(machine, numbers(machine)["clone"], flags) == expected


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_programs_of_other_machines_are_killed(machine: str) -> None:
    others = [audit for name, audit in AUDIT.items() if SIBLINGS[name] != machine]

    assert {decide(compile_filter(machine), each, 0) for each in (*others, 0)} == {KILL}


@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "riscv64", "s390x", "ppc64le"])
def test_a_filter_fits_and_ends(machine: str) -> None:
    program = compile_filter(machine)
    length = len(program) // 8

    assert len(program) % 8 == 0
    assert length <= 4096, "BPF_MAXINSNS"
    for place in range(length):
        code, on_true, on_false, operand = struct.unpack_from("HBBI", program, place * 8)
        if code == 0x05:
            assert place + 1 + operand < length
        elif code not in {0x20, 0x54, 0x06}:
            assert place + 1 + max(on_true, on_false) < length


def test_an_unknown_machine_is_told() -> None:
    with pytest.raises(NoRuntime, match=r"^the system calls of vax are not known$"):
        compile_filter("vax")


def names_of(profile: Seccomp, action: str) -> set[str]:
    return {
        name for rule in profile["syscalls"] if rule["action"] == action for name in rule["names"]
    }


def test_the_profile_refuses_what_could_harm_the_machine() -> None:
    profile = oci_profile("x86_64")
    harmful = {
        *("mount", "umount2", "setns", "unshare", "reboot", "kexec_load", "init_module", "bpf"),
        *("keyctl", "add_key", "swapon", "acct", "io_uring_setup", "userfaultfd", "clone3"),
    }

    assert profile["defaultAction"] == "SCMP_ACT_ERRNO"
    assert harmful & names_of(profile, "SCMP_ACT_ALLOW") == set()
    assert names_of(profile, "SCMP_ACT_ERRNO") == {"clone3"}
    assert profile["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]


def test_where_the_flags_of_clone_are() -> None:
    found = {}
    for machine in ("x86_64", "s390x"):
        (rule,) = [rule for rule in oci_profile(machine)["syscalls"] if rule["names"] == ["clone"]]
        found[machine] = rule["args"][0]["index"]

    assert found == {"x86_64": 0, "s390x": 1}


@pytest.mark.runtime
def test_the_kernel_takes_the_filter_of_this_machine() -> None:
    def check() -> None:
        syscalls.seccomp_filter(compile_filter())
        assert os.getpid() > 0
        assert os.stat("/").st_mode
        with pytest.raises(PermissionError):
            syscalls.unshare(syscalls.CLONE_NEWUTS)
        child = os.fork()
        if child == 0:
            os._exit(7)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7

    in_user_namespace(check)


@pytest.mark.parametrize("machine", NUMBERS_OF)
@pytest.mark.parametrize("name", ["mknod", "mknodat"])
def test_nodes_of_devices_are_handed_over_and_nothing_else(machine: str, name: str) -> None:
    known = numbers(machine)
    if name not in known:  # aarch64 has the younger call only
        assert (machine, name) == ("aarch64", "mknod")
        return
    before = (0,) * (1 if name == "mknod" else 2)
    program = compile_filter(SIBLINGS[machine], handed=Handed.NODES)

    def decided(kind: int) -> int:
        return decide(program, AUDIT[machine], known[name], *before, kind | 0o644)

    handed_over = {kind for kind in range(0, 0o200000, 0o10000) if decided(kind) == 0x7FC00000}
    assert handed_over == {stat.S_IFCHR, stat.S_IFBLK}
    assert {decided(stat.S_IFIFO), decided(stat.S_IFREG), decided(0)} == {ALLOW}
    assert decide(program, AUDIT[machine], known["openat"]) == ALLOW


@pytest.mark.parametrize("machine", NUMBERS_OF)
def test_all_that_has_to_do_with_owners_is_handed_over(machine: str) -> None:
    known = numbers(machine)
    program = compile_filter(SIBLINGS[machine], handed=Handed.OWNERS)
    listener = 0x7FC00000

    over = {
        name for name, call in known.items() if decide(program, AUDIT[machine], call) == listener
    }

    assert over >= {"fchown", "fchownat", "setresuid", "getuid", "setgroups", "statx", "execve"}
    assert over & {"read", "write", "openat", "close", "mmap", "chmod", "rename", "clone"} == set()
    at = decide(program, AUDIT[machine], known["openat"], 0, 0, os.O_CREAT | os.O_WRONLY)
    assert at == listener, "a file may be made"


def test_an_open_filter_refuses_nothing() -> None:
    program = compile_filter("x86_64", handed=Handed.OWNERS, is_open=True)
    known = numbers("x86_64")

    verdicts = {decide(program, AUDIT["x86_64"], call) for call in known.values()}

    assert verdicts == {ALLOW, 0x7FC00000}


@pytest.mark.parametrize("handed", list(Handed))
def test_calls_that_are_handed_over_have_their_numbers(handed: Handed) -> None:
    machine = os.uname().machine
    known = numbers(machine)

    found = {name: number for _, number, name, of in handed_calls(handed) if of == machine}

    assert found["mknodat"] == known["mknodat"]
    assert {found[name] for name in found} <= set(known.values())
    assert ("fchownat" in found) == (handed is Handed.OWNERS)
