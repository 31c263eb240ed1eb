"""The rules for devices: as lines of text, and as a program that is run here as the kernel runs it."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyarch.runtime.sandbox.devicegroup import DEFAULT_RULES, DeviceRule, compile_rules

MAKE, READ, WRITE = 1, 2, 4
KINDS = {"b": 1, "c": 2}
NUMBERS = st.sampled_from([-1, 0, 1, 3, 136])
RULES = st.builds(
    DeviceRule,
    kind=st.sampled_from("bc"),
    major=NUMBERS,
    minor=NUMBERS,
    access=st.sampled_from([MAKE, READ, READ | WRITE, MAKE | READ | WRITE]),
)


def run(program: bytes, kind: str, access: int, major: int, minor: int) -> bool:
    """Run a program of struct bpf_cgroup_dev_ctx: those instructions that there are (linux/bpf.h)."""
    context = struct.pack("=III", access << 16 | KINDS[kind], major, minor)
    registers, place = [0] * 11, 0
    while True:
        code, both, offset, value = struct.unpack_from("=BBhi", program, place * 8)
        target, source = both & 15, both >> 4
        place += 1
        match code:
            case 0x61:
                assert source == 1
                (registers[target],) = struct.unpack_from("=I", context, offset)
            case 0x54:
                registers[target] &= value
            case 0x74:
                registers[target] >>= value
            case 0xBC:
                registers[target] = registers[source]
            case 0xB4:
                registers[target] = value
            case 0x56:
                place += offset if registers[target] != value else 0
            case 0x46:
                place += offset if registers[target] & value else 0
            case 0x95:
                return bool(registers[0])


def allows(rule: DeviceRule, kind: str, access: int, major: int, minor: int) -> bool:
    return (
        rule.kind == kind
        and not access & ~rule.access
        and rule.major in {-1, major}
        and rule.minor in {-1, minor}
    )


@given(
    rules=st.lists(RULES, max_size=4),
    kind=st.sampled_from("bc"),
    access=st.integers(1, 7),
    major=st.sampled_from([0, 1, 3, 8, 136]),
    minor=st.sampled_from([0, 1, 3, 9]),
)
def test_the_program_does_what_the_rules_say(
    rules: list[DeviceRule], kind: str, access: int, major: int, minor: int
) -> None:
    wanted = any(allows(rule, kind, access, major, minor) for rule in rules)

    assert run(compile_rules(rules), kind, access, major, minor) == wanted


@pytest.mark.parametrize(
    ("device", "access", "wanted"),
    [
        (("b", 8, 0), MAKE, True),
        (("b", 8, 0), READ, False),
        (("b", 8, 0), MAKE | READ, False),
        (("c", 1, 3), READ | WRITE, True),
        (("c", 1, 1), READ, False),
        (("c", 1, 11), READ, False),
        (("c", 10, 229), WRITE, False),
        (("c", 136, 7), READ | WRITE, True),
    ],
)
def test_the_rules_of_every_step(device: tuple[str, int, int], access: int, wanted: bool) -> None:
    kind, major, minor = device

    assert run(compile_rules(DEFAULT_RULES), kind, access, major, minor) == wanted


def test_rules_as_the_older_hierarchy_reads_them() -> None:
    assert [str(rule) for rule in DEFAULT_RULES[:3]] == ["b *:* m", "c *:* m", "c 1:3 rwm"]
    assert str(DEFAULT_RULES[-1]) == "c 136:* rwm"
