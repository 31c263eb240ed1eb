"""Keys of a raw terminal, and the line of the monitor's prompt."""

from __future__ import annotations

import os
import pty
from collections.abc import Iterator

import pytest

from polyarch.debugger.keys import Keys, Prompt


@pytest.fixture
def terminal() -> Iterator[tuple[int, Keys, int]]:
    master, slave = pty.openpty()
    reader, writer = os.pipe()
    yield master, Keys(slave, slave, reader), writer
    for each in (master, slave, reader, writer):
        os.close(each)


def test_ctrl_a_c_is_ours_and_all_else_the_programs(terminal: tuple[int, Keys, int]) -> None:
    master, keys, wake = terminal
    with keys:
        os.write(master, b"ab\x01c\x03\x01\x01\x01x")
        found = [keys.next() for _ in range(3)]
        os.write(wake, b"we")
        found += [keys.next() for _ in range(2)]
        keys.show(b"a\nb\n")
        keys.write(b"c\nd")

    assert found == [
        ("typed", b"ab"),
        ("toggle", b""),
        ("typed", b"\x03\x01\x01x"),
        ("resized", b""),
        ("ended", b""),
    ]
    wanted = b"a\r\nb\r\nc\nd"
    shown = b""
    while len(shown) < len(wanted):
        # A terminal hands on what was written to it in parts.
        shown += os.read(master, 100)
    assert shown == wanted


def test_a_line_is_edited() -> None:
    shown: list[bytes] = []
    prompt = Prompt(shown.append)
    prompt.begin()

    lines = list(prompt.take("éx\x7f\x1b[Ab\r\x15wrong\x15ps\rno\x03\r\x04".encode()))

    assert lines == ["éb", "ps", "", None]
    assert b"".join(shown).startswith(b"(polyarch) \xc3\xa9x\b \bb\n")
